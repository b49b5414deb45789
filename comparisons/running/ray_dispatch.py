"""From tasks to workers: who does what, what is done again when a worker is lost, and what comes of it."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from comparisons.evaluation.interface import CellResult
from comparisons.evaluation.registry import evaluations_of
from comparisons.evaluations.open_ended import OPEN_ENDED, judged
from comparisons.experiment.specification import Cell, Plan
from comparisons.judges.judge_set import JudgeSet
from comparisons.results.cells import CHOSEN, cell_path
from comparisons.results.folder import RunFolder
from comparisons.running.provenance import ModelInfo
from comparisons.running.ray_pool import WorkerHandle, WorkerLost, WorkerPool, WorkerUnfit
from comparisons.running.ray_worker import Done, Files, RunPlace, Task, needed
from comparisons.running.runner import first_look
from comparisons.running.sinks import Progress
from comparisons.util.errors import StorageError, described
from comparisons.util.files import write_parts

LOSSES = 2
"""Workers that may be lost over the cells of a task before these are tried one by one; one more fails a cell."""

PATIENCE = 60.0
"""Seconds in which a shared file system must show what another machine has written."""

log = logging.getLogger(__name__)


@contextmanager
def marked(folder: RunFolder) -> Iterator[RunPlace]:
    """A run's folder with a mark in it, by which workers tell whether they see it."""
    # Named as what is half written, so that the mark of a process that was killed is cleared away.
    mark = folder.path.absolute() / f".{uuid.uuid4().hex}.{os.getpid()}.tmp"
    mark.touch()
    try:
        yield RunPlace(mark.parent, folder.run, mark.name)
    finally:
        mark.unlink(missing_ok=True)


def files_of(plan: Plan, task: Task, folder: RunFolder) -> Files:
    """What a worker that doesn't see the run's folder must know of it for a task: its cells, and what was chosen."""
    paths = [cell_path(folder.path, cell) for cell in needed(plan, task)] + [*(folder.path / CHOSEN).glob("*.jsonl")]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths if path.exists()}


class CellIntake:
    """Takes in the cells that workers have written: has their answers judged, and tells of them.

    Args:
        plan: the run.
        folder: the run's.
        progress: told what ends.
        judges: judges of open-ended answers, who sit here: they have one budget.
    """

    def __init__(self, plan: Plan, folder: RunFolder, progress: Progress, judges: JudgeSet | None) -> None:
        self.folder, self.progress, self.judges = folder, progress, judges
        self._cells = {cell.key: cell for cell in plan.cells}
        self._ended: set[str] = set()
        self._waiting: dict[str, Cell] = {}

    def ended(self, cell: str) -> bool:
        """Whether the cell has ended, well or not."""
        return cell in self._ended or self.folder.done(cell)

    def look(self, cells: Sequence[str]) -> None:
        """Takes in those of some cells that have been written since."""
        for key in cells:
            if key not in self._ended and self.folder.refresh(self._cells[key].id):
                self._take(self._cells[key])

    def take(self, done: Done) -> None:
        """Takes in what came of a task.

        Raises:
            StorageError: what a worker has written can't be seen from here, or written here.
        """
        for warning in done.warnings:
            log.warning("%s", warning)
        for name, data in done.files.items():
            with self.folder.writing():
                write_parts(self.folder.path / name, [data])
        self.look(done.cells)
        deadline = time.monotonic() + PATIENCE
        while missing := [cell for cell in done.cells if not self.ended(cell)]:
            if time.monotonic() > deadline:
                raise StorageError(f"{self.folder.path}: what a worker wrote of {missing[0]} doesn't arrive here.")
            time.sleep(0.5)
            self.look(missing)

    def fail(self, task: Task, error: str) -> None:
        """Makes the cells of a task that have not ended rows with an error."""
        for key in task.cells:
            if not self.ended(key):
                self.folder.commit(self._cells[key].id, [], {"error": error})
                self._take(self._cells[key])
        if task.kind == "later":
            log.warning("not asked later: %s in %s: %s", task.behavior, task.model, error)

    def _take(self, cell: Cell) -> None:
        self._ended.add(cell.key)
        if self.judges is not None and cell.elements and not self.ended(str(cell.id.baseline)):
            # A judge that compares needs the baseline's answers.
            self._waiting[cell.key] = cell
            return
        self._close(cell)
        if not cell.elements:
            for key in [key for key, waiting in self._waiting.items() if waiting.id.baseline == cell.id]:
                self._close(self._waiting.pop(key))

    def _close(self, cell: Cell) -> None:
        """Judges a cell's answers, and tells of it."""
        baseline, error = str(cell.id.baseline), self.folder.entries[cell.key].info.get("error")
        rows = self.folder.rows(cell.key)
        plain = self.folder.rows(baseline) if self.folder.done(baseline) else None
        if self.judges is not None and any(row["evaluation"] == OPEN_ENDED for row in rows):
            (scored,) = judged(self.judges, [CellResult(rows)], plain or ())
            self.folder.amend(cell.key, {**scored.info, "waiting": False}, scored.rows)
        shift = first_look(rows, plain) if cell.elements and plain is not None and error is None else None
        self.progress.ended(cell, shift, error)


class Dispatch:
    """Goes through tasks with a pool.

    Args:
        plan: the run.
        pool: where workers are hired.
        idle: those that are there, with their models.
        run: where workers write.
        intake: where what they have written is taken in.
        told: is given what is known of each model that is loaded.
    """

    def __init__(
        self,
        plan: Plan,
        pool: WorkerPool,
        idle: list[WorkerHandle],
        run: RunPlace,
        intake: CellIntake,
        told: Callable[[ModelInfo], None],
    ) -> None:
        self.plan, self.pool, self.idle, self.run, self.intake, self.told = plan, pool, idle, run, intake, told
        self._waiting: list[Task] = []
        self._running: dict[Any, tuple[WorkerHandle, Task, bool]] = {}
        self._left: Counter[tuple[str, str]] = Counter()

    def through(self, tasks: list[Task]) -> None:
        """Returns when all is done, or has failed."""
        self._waiting = list(tasks)
        self._left = Counter((task.model, task.behavior) for task in tasks)
        self._ask_later(*dict.fromkeys((cell.model, cell.behavior) for cell in self.plan.cells))
        while self._waiting or self._running:
            self._assign()
            ended = self.pool.ended(list(self._running))
            for _, task, loading in self._running.values():
                if not loading and task.kind == "evaluate":
                    self.intake.look(task.cells)
            for call in ended:
                self._ended(call)

    def _assign(self) -> None:
        """Gives waiting tasks to idle workers, first to those that hold the model; hires while there is room."""
        while self._waiting:
            if not self.idle:
                if len(self._running) >= self.pool.size:
                    return
                self.idle.append(self.pool.hire())
            pairs = [(worker, task) for worker in self.idle for task in self._waiting if worker.model == task.model]
            worker, task = pairs[0] if pairs else (self.idle[0], self._least_served())
            self.idle.remove(worker)
            if worker.model != task.model:
                # By itself, so that a model that can't be loaded is told from a task that fails.
                self._running[worker.actor.load.remote(task.model)] = (worker, task, True)
            else:
                self._start(worker, task)
            self._waiting.remove(task)

    def _least_served(self) -> Task:
        """The first task of the model that the fewest workers are on."""
        served = Counter(task.model for _, task, _ in self._running.values())
        return min(self._waiting, key=lambda task: served[task.model])

    def _start(self, worker: WorkerHandle, task: Task) -> None:
        self.intake.progress.stage(f"{task.kind} {len(task.cells)} cells of {task.behavior} on {task.model}")
        files = files_of(self.plan, task, self.intake.folder)
        self._running[worker.actor.work.remote(task, self.run, files)] = (worker, task, False)

    def _ended(self, call: Any) -> None:
        worker, task, loading = self._running.pop(call)
        try:
            result = self.pool.result(call)
        except WorkerLost as error:
            self._lost(task, str(error))
            return
        except WorkerUnfit as error:
            self._unfit(task, error)
            return
        except Exception as error:  # what a cell raises is caught where it runs
            self.idle.append(worker)
            failed = [task]
            if loading:
                worker.model = ""
                failed += [other for other in self._waiting if other.model == task.model]
            for each in failed:
                self._settle(each, described(error))
            self._waiting = [each for each in self._waiting if each not in failed]
            return
        if loading:
            worker.model = task.model
            self.told(result)
            self._start(worker, task)
            return
        self.idle.append(worker)
        self.intake.take(result)
        self._settle(task, None)

    def _unfit(self, task: Task, error: WorkerUnfit) -> None:
        """Goes on without a worker that could not begin, while there are others."""
        self.pool.size -= 1
        if not self.pool.size:
            raise error
        log.warning("going on without a worker: %s", error)
        self._waiting.append(task)

    def _lost(self, task: Task, why: str) -> None:
        """Puts what a lost worker had not finished back among the tasks, or gives up."""
        self.intake.look(task.cells)
        left = tuple(cell for cell in task.cells if not self.intake.ended(cell))
        losses = task.losses + 1
        log.warning("a worker was lost over %s on %s: %s", ", ".join(left) or task.kind, task.model, why)
        again = replace(task, cells=left, losses=losses)
        if task.kind == "later":
            again = replace(again, cells=task.cells)
        if not left and task.kind == "evaluate":
            self._settle(task, None)
        elif losses < LOSSES or (losses == LOSSES and len(left) == 1):
            self._waiting.append(again)
        elif losses == LOSSES and task.kind == "evaluate" and self.plan.spec.select is None:
            self._waiting += [replace(again, cells=(cell,)) for cell in left]
            self._left[task.model, task.behavior] += len(left) - 1
        else:
            self._settle(again, f"its worker was lost {losses} times, perhaps for want of memory: {why}")

    def _settle(self, task: Task, error: str | None) -> None:
        """A task has ended; after the last of a behavior comes what is asked later."""
        if error is not None:
            self.intake.fail(task, error)
        if task.kind == "evaluate":
            place = task.model, task.behavior
            self._left[place] -= 1
            if not self._left[place]:
                self._ask_later(place)

    def _ask_later(self, *places: tuple[str, str]) -> None:
        """Adds a task for what is asked later of behaviors whose cells have all ended."""
        spec = self.plan.spec
        if spec.select is not None or not any(each.later for each in evaluations_of(spec).values()):
            return
        for model, behavior in places:
            model = model or spec.model.name
            source = next(source for source in spec.sources if source.name == model)
            cells = [cell for cell in self.plan.of(source).cells if cell.behavior == behavior and cell.elements]
            done = tuple(cell.key for cell in cells if self.intake.folder.done(cell.key))
            if done and not self._left[model, behavior]:
                self._waiting.append(Task(model, behavior, done, "later"))
