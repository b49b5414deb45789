"""From tasks to workers: who does what, and what is done again when a worker is lost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from comparisons.evaluation.registry import evaluations_of
from comparisons.running.provenance import ModelInfo
from comparisons.running.ray_pool import WorkerHandle, WorkerLost, WorkerPool, WorkerUnfit
from comparisons.running.ray_tasks import Task
from comparisons.running.ray_writer import RunWriter
from comparisons.util.errors import described

LOSSES = 2
"""Workers that may be lost over the cells of a task before these are tried one by one; one more fails a cell."""

log = logging.getLogger(__name__)


class Dispatch:
    """Goes through tasks with a pool.

    Args:
        pool: where workers are hired.
        idle: those that are there, with their models.
        writer: where what they send is kept.
        told: is given what is known of each model that is loaded.
    """

    def __init__(
        self, pool: WorkerPool, idle: list[WorkerHandle], writer: RunWriter, told: Callable[[ModelInfo], None]
    ) -> None:
        self.pool, self.idle, self.writer, self.told = pool, idle, writer, told
        self._waiting: list[Task] = []
        self._running: dict[Any, tuple[WorkerHandle, Task, bool]] = {}
        self._left: Counter[tuple[str, str]] = Counter()

    def through(self, tasks: list[Task]) -> None:
        """Returns when all is done, or has failed."""
        self._waiting = list(tasks)
        self._left = Counter((task.model, task.behavior) for task in tasks)
        self._ask_later(*dict.fromkeys((cell.model, cell.behavior) for cell in self.writer.plan.cells))
        while self._waiting or self._running:
            self._assign()
            ended = self.pool.ended(list(self._running))
            for message in self.pool.messages():
                self.writer.take(message)
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
        known = self.writer.known(task)
        self._running[worker.actor.work.remote(task, known)] = (worker, task, False)

    def _ended(self, call: Any) -> None:
        worker, task, loading = self._running.pop(call)
        try:
            found = self.pool.result(call)
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
            self.told(found)
            self._start(worker, task)
            return
        self.idle.append(worker)
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
        left = tuple(cell for cell in task.cells if not self.writer.arrived(cell))
        losses = task.losses + 1
        log.warning("a worker was lost over %s on %s: %s", ", ".join(left) or task.kind, task.model, why)
        again = replace(task, cells=left, losses=losses)
        if not left and task.kind == "evaluate":
            self._settle(task, None)
        elif losses < LOSSES or (losses == LOSSES and len(left) == 1):
            self._waiting.append(again)
        elif losses == LOSSES and task.kind == "evaluate" and self.writer.plan.spec.select is None:
            self._waiting += [replace(again, cells=(cell,)) for cell in left]
            self._left[task.model, task.behavior] += len(left) - 1
        else:
            self._settle(again, f"its worker was lost {losses} times, perhaps for want of memory: {why}")

    def _settle(self, task: Task, error: str | None) -> None:
        """A task has ended; after the last of a behavior comes what is asked later."""
        if error is not None:
            self.writer.fail(task, error)
        if task.kind == "evaluate":
            place = task.model, task.behavior
            self._left[place] -= 1
            if not self._left[place]:
                self._ask_later(place)

    def _ask_later(self, *places: tuple[str, str]) -> None:
        """Adds a task for what is asked later of behaviors whose cells have all ended."""
        spec = self.writer.plan.spec
        if spec.select is not None or not any(each.later for each in evaluations_of(spec).values()):
            return
        for model, behavior in places:
            model = model or spec.model.name
            if not self._left[model, behavior]:
                cells = self.writer.done(model, behavior)
                self._waiting += [Task(model, behavior, cells, "later")] if cells else []
