"""What the runner asks of many cells at once: of all behaviors together, and, once a behavior's cells are done, later.

Vectors and baselines leave the prompts as they are, whatever their behavior: on the knowledge questions all of them are
branches behind the same prefill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from comparisons.evaluation.cells import Evaluations, ask
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation
from comparisons.experiment.specification import Cell
from comparisons.results.cells import CellStore
from comparisons.util.errors import described
from comparisons.util.plugins import foreign, settings_kept

MOST = 48
"""Cells a behavior, above which each behavior is asked alone: reading the prompts is then the smaller part, and what is
lost when a run is killed in the middle would be large."""


def asked_together(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are likely to share a prompt's cache with those of other behaviors; none where it doesn't pay.

    Dosed methods that don't adapt weights steer activations.
    """
    steering = [cell for cell in cells if all(e.method.dosed and not e.method.adapts for e in cell.elements)]
    behaviors = {cell.behavior for cell in steering}
    return steering if len(behaviors) > 1 and len(steering) <= MOST * len(behaviors) else []


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
                    asked = ask(name, evaluation, self.asking, group)
                    results |= {(c.fields["cell"], name): r for c, r in zip(group, asked, strict=True)}
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


class Later:
    """Asks evaluations that read what others found.

    Args:
        evaluations: of the run; those that come later are asked.
        asking: with what.
        folder: where findings go.
        build: a cell with its intervention.
    """

    def __init__(
        self, evaluations: Evaluations, asking: Asking, folder: CellStore, build: Callable[[Cell], CellToAsk]
    ) -> None:
        self.evaluations = {name: each for name, each in evaluations.items() if each.later}
        self.asking, self.folder, self.build = asking, folder, build

    def waiting(self, name: str, cells: Sequence[Cell]) -> list[Cell]:
        """The done cells that an evaluation hasn't been asked of; none while the baseline isn't done."""
        baseline = next(cell.key for cell in cells if not cell.elements)
        done = [cell for cell in cells if cell.elements and self.folder.done(cell.key)]
        return [cell for cell in done if not self._asked(name, cell)] if self.folder.done(baseline) else []

    def _asked(self, name: str, cell: Cell) -> bool:
        """Whether it is known what an evaluation finds; one that failed is tried again."""
        finding = self.folder.entries[cell.key].info.get(name)
        return finding is not None and "error" not in finding

    def run(self, cells: Sequence[Cell], stage: Callable[[str], None]) -> None:
        """Asks every waiting cell of a behavior, and keeps what is found as it comes.

        Args:
            cells: of the behavior, the baseline among them.
            stage: told what is done.
        """
        for name, evaluation in self.evaluations.items():
            if waiting := self.waiting(name, cells):
                stage(f"{name.replace('_', ' ')} on {cells[0].behavior}")
                self._ask(name, evaluation, waiting)

    def _ask(self, name: str, evaluation: Evaluation, waiting: Sequence[Cell]) -> None:
        built: dict[str, CellToAsk] = {}
        for cell in waiting:
            try:
                built[cell.key] = self.build(cell)
            except Exception as error:
                self._keep(name, cell.key, CellResult(error=error))
        if not built:
            return
        pending = list(built)
        try:
            with foreign(f"the evaluation {name}"):
                for result in evaluation.ask(self.asking, list(built.values())):
                    self._keep(name, pending.pop(0), result)
        except Exception as error:
            for key in pending:
                self._keep(name, key, CellResult(error=error))

    def _keep(self, name: str, key: str, result: CellResult) -> None:
        info = result.info if result.error is None else {"error": described(result.error)}
        self.folder.amend(key, {name: info})
