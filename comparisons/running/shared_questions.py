"""Questions that the cells of all behaviors are asked, in one pass over them.

Vectors and baselines leave the prompts as they are, whatever their behavior: on the knowledge questions all of them are
branches behind the same prefill.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from comparisons.evaluation.cells import Answers, ask_in_common
from comparisons.evaluation.robustness import CellToAsk
from comparisons.experiment.specification import Cell, Plan
from comparisons.method.guard import settings_kept
from comparisons.model.lm import LM

MOST = 48
"""Cells a behavior, above which each behavior is asked alone: reading the prompts is then the smaller part, and what is
lost when a run is killed in the middle would be large."""


def asked_together(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are likely to share a prompt's cache with those of other behaviors; none where it doesn't pay.

    Dosed methods that don't adapt weights steer activations.
    """
    found = [cell for cell in cells if all(e.method.dosed and not e.method.adapts for e in cell.elements)]
    behaviors = {cell.behavior for cell in found}
    return found if len(behaviors) > 1 and len(found) <= MOST * len(behaviors) else []


class SharedQuestions:
    """What cells of several behaviors have been asked together.

    Args:
        plan: the run, or its part on this model.
        lm: the model.

    Attributes:
        answers: by cell and evaluation.
    """

    def __init__(self, plan: Plan, lm: LM) -> None:
        self.plan, self.lm = plan, lm
        self.answers: dict[tuple[str, str], Answers] = {}
        self._spent: dict[str, tuple[float, float]] = {}

    def ask(self, subjects: Sequence[CellToAsk]) -> None:
        """Asks those that share a prompt's cache with cells of another behavior; the others are asked with their own.

        What fails here is left to each behavior, where it fails the cells that it concerns.
        """
        groups: dict[object, list[CellToAsk]] = {}
        for subject in subjects:
            plain = subject.intervention.simplified()
            if plain.context is None:
                groups.setdefault(plain.prefix_key, []).append(subject)
        for group in groups.values():
            if len({subject.fields["behavior"] for subject in group}) > 1:
                self._ask(group)

    def _ask(self, group: Sequence[CellToAsk]) -> None:
        started = time.perf_counter()
        try:
            with settings_kept(), self.lm.meter.counting() as tokens:
                found = ask_in_common(self.plan, self.lm, group)
        except Exception:
            found = {}
        if not self.lm.is_clean():
            self.lm.restore()
            return
        self.answers |= found
        each = (time.perf_counter() - started) / len(group), sum(tokens) / len(group)
        self._spent |= {subject.fields["cell"]: each for subject in group}

    def spent(self, cell: str) -> tuple[float, float]:
        """A cell's share of the seconds and tokens."""
        return self._spent.get(cell, (0.0, 0.0))
