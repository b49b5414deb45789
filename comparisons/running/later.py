"""What is asked once a behavior's cells are done, as a vector's rank among random ones; the cells' files keep it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comparisons.evaluation.cells import Evaluations
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation
from comparisons.experiment.specification import Cell
from comparisons.method.guard import foreign
from comparisons.results.cells import CellStore
from comparisons.util.errors import described


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
        found = self.folder.entries[cell.key].info.get(name)
        return found is not None and "error" not in found

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
