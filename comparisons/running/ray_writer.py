"""The one writer of a run on a cluster: what workers send goes through it into the run's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comparisons.evaluation.interface import CellResult
from comparisons.evaluations.open_ended import OPEN_ENDED, judged
from comparisons.experiment.specification import Cell, Plan
from comparisons.judges.judge_set import JudgeSet
from comparisons.results.folder import RunFolder
from comparisons.results.keys import baseline_key
from comparisons.running.ray_mailbox import Chosen, Commit, Message
from comparisons.running.ray_tasks import Known, Task
from comparisons.running.runner import first_look
from comparisons.running.sinks import Progress

log = logging.getLogger(__name__)


class RunWriter:
    """The one writer: keeps what workers send, in the run's folder.

    Args:
        plan: the run.
        folder: the run's.
        progress: told what ends.
        judges: judges of open-ended answers, who sit here: they have one budget.
    """

    def __init__(self, plan: Plan, folder: RunFolder, progress: Progress, judges: JudgeSet | None) -> None:
        self.plan, self.folder, self.progress, self.judges = plan, folder, progress, judges
        self._cells = {cell.key: cell for cell in plan.cells}
        self._held: dict[str, Commit] = {}
        self._taken: set[str] = set()

    def take(self, message: Message) -> None:
        """Keeps a message."""
        if isinstance(message, Commit):
            self._commit(message)
        elif isinstance(message, Chosen):
            record = message.record
            if self.folder.choice(message.key, record["behavior"], record.get("model", "")) is None:
                self.folder.add_choice(message.key, record)
        elif message.warning:
            log.warning("%s", message.text)
        else:
            self.progress.stage(message.text)

    def arrived(self, cell: str) -> bool:
        """Whether the cell has ended, well or not."""
        return cell in self._taken or self.folder.done(cell)

    def known(self, task: Task) -> Known:
        """What a worker must know for a task."""
        cell = next(c for c in self.plan.cells if c.key in task.cells)
        found = known_of(self.folder, cell)
        # What waits for a judge is done as far as workers are concerned.
        return replace(found, done=found.done | self._held.keys())

    def done(self, model: str, behavior: str) -> tuple[str, ...]:
        """The done cells of a behavior, but for its baseline."""
        source = next(source for source in self.plan.spec.sources if source.name == model)
        mine = [cell for cell in self.plan.of(source).cells if cell.behavior == behavior]
        return tuple(cell.key for cell in mine if cell.elements and self.folder.done(cell.key))

    def fail(self, task: Task, error: str) -> None:
        """Makes the cells of a task that have not ended rows with an error."""
        for key in task.cells:
            if not self.arrived(key):
                self._commit(Commit(key, [], {"error": error}))
        if task.kind == "later":
            log.warning("not asked later: %s in %s: %s", task.behavior, task.model, error)

    def _commit(self, found: Commit) -> None:
        if found.cell in self._taken:
            return
        self._taken.add(found.cell)
        cell = self._cells.get(found.cell)
        baseline = baseline_key(cell.behavior, cell.model) if cell is not None else ""
        if cell is not None and cell.elements and self.judges is not None and not self.arrived(baseline):
            # A judge that compares needs the baseline's answers.
            self._held[found.cell] = found
            return
        self._write(found, cell, baseline)
        if found.cell == baseline:
            waiting = [held for held in self._held.values() if self._baseline_of(held) == baseline]
            for held in waiting:
                del self._held[held.cell]
                self._write(held, self._cells[held.cell], baseline)

    def _baseline_of(self, found: Commit) -> str:
        cell = self._cells[found.cell]
        return baseline_key(cell.behavior, cell.model)

    def _write(self, found: Commit, cell: Cell | None, baseline: str) -> None:
        error = found.info.get("error")
        if self.judges is not None and cell is not None and error is None:
            found = self._judged(self.judges, found, baseline)
        self.folder.commit(found.cell, found.rows, found.info)
        if cell is not None:
            plain = self.folder.rows(baseline) if cell.elements and self.folder.done(baseline) else None
            shift = first_look(found.rows, plain) if plain is not None and error is None else None
            self.progress.ended(cell, shift, error)

    def _judged(self, judges: JudgeSet, found: Commit, baseline: str) -> Commit:
        if not any(row["evaluation"] == OPEN_ENDED for row in found.rows):
            return found
        own = found.cell == baseline
        plain = found.rows if own else self.folder.rows(baseline) if self.folder.done(baseline) else []
        (scored,) = judged(judges, [CellResult(list(found.rows), dict(found.info))], plain)
        return Commit(found.cell, scored.rows, scored.info)


def known_of(folder: RunFolder, cell: Cell) -> Known:
    """What a worker must know of a run's folder for a cell's behavior."""
    baseline = baseline_key(cell.behavior, cell.model)
    rows: Mapping[str, Any] = {baseline: folder.rows(baseline)} if folder.done(baseline) else {}
    done = frozenset(key for key in folder.entries if folder.done(key))
    return Known(done, rows, folder.choices(cell.behavior, cell.model))
