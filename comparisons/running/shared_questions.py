"""Questions that the cells of all behaviors are asked, in one pass over them.

Vectors and baselines leave the prompts as they are, whatever their behavior: on the knowledge questions all of them are
branches behind the same prefill.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from comparisons.evaluation.cells import Evaluations, ask
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk
from comparisons.experiment.specification import Cell
from comparisons.method.guard import settings_kept

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
        asking: with what.
        evaluations: of the run; those whose questions are the same for all behaviors are asked.

    Attributes:
        results: by cell and evaluation.
    """

    def __init__(self, asking: Asking, evaluations: Evaluations) -> None:
        self.asking = asking
        self.evaluations = {name: each for name, each in evaluations.items() if each.across and not each.later}
        self.results: dict[tuple[str, str], CellResult] = {}
        self._spent: dict[str, tuple[float, float]] = {}

    def ask(self, cells: Sequence[CellToAsk]) -> None:
        """Asks those that share a prompt's cache with cells of another behavior; the others are asked with their own.

        What fails here is left to each behavior, where it fails the cells that it concerns.
        """
        groups: dict[object, list[CellToAsk]] = {}
        for cell in cells:
            plain = cell.intervention.simplified()
            if plain.context is None:
                groups.setdefault(plain.prefix_key, []).append(cell)
        for group in groups.values():
            if len({cell.fields["behavior"] for cell in group}) > 1:
                self._ask(group)

    def _ask(self, group: Sequence[CellToAsk]) -> None:
        lm, started = self.asking.lm, time.perf_counter()
        results: dict[tuple[str, str], CellResult] = {}
        try:
            with settings_kept(), lm.meter.counting() as tokens:
                for name, evaluation in self.evaluations.items():
                    found = ask(name, evaluation, self.asking, group)
                    results |= {(c.fields["cell"], name): r for c, r in zip(group, found, strict=True)}
        except Exception:
            results = {}
        if not lm.is_clean():
            lm.restore()
            return
        self.results |= results
        each = (time.perf_counter() - started) / len(group), sum(tokens) / len(group)
        self._spent |= {cell.fields["cell"]: each for cell in group}

    def spent(self, cell: str) -> tuple[float, float]:
        """A cell's share of the seconds and tokens."""
        return self._spent.get(cell, (0.0, 0.0))
