"""The workers of a cluster: as many as fit, replaced when they are lost; and which of them does what."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from comparisons.evaluation.registry import evaluations_of
from comparisons.experiment.plan import Plan
from comparisons.running.provenance import ModelInfo
from comparisons.running.ray_worker import CellIntake, RunPlace, Task, Worker, files_of
from comparisons.util.errors import CompareError, described

STORE_BYTES = 512 * 2**20
"""Of the objects that Ray holds in memory: rows are small, and what doesn't fit goes to disk."""

POLL = 0.2
"""Seconds between two looks at what workers have done."""


@dataclass(frozen=True)
class ClusterOptions:
    """What to run on.

    Attributes:
        address: of a Ray cluster; None starts one on this machine, for this run.
        gpus: of each worker; None is one where the cluster has any. A share of one puts several workers on a GPU.
        workers: how many; None is as many as the cluster's GPUs allow, or on CPUs one a core.
    """

    address: str | None = None
    gpus: float | None = None
    workers: int | None = None


class WorkerLost(Exception):
    """A worker's process or machine is gone."""


class WorkerUnfit(CompareError):
    """A worker can't begin where it is."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker as the pool sees it.

    Attributes:
        actor: its handle.
        model: the model that it holds; "" for none.
    """

    actor: Any
    model: str = ""


class WorkerPool:
    """Starts Ray, or joins a cluster, and hires workers there.

    Args:
        options: what to run on.
        make: the arguments of a `Worker`.
        tasks: how many pieces of work there are: more workers would have nothing to do.

    Raises:
        CompareError: Ray is not installed or can't be reached, or the cluster is too small.
    """

    def __init__(self, options: ClusterOptions, make: tuple[Any, ...], tasks: int) -> None:
        self._ray, self._make = _started(options.address), make
        try:
            resources = self._ray.cluster_resources()
            self._gpus, self.size = _shares(options, resources, tasks)
            self._cpus = 0 if self._gpus else max(1, int(resources.get("CPU", 1)) // self.size)
        except BaseException:
            self.close()
            raise

    def hire(self) -> WorkerHandle:
        """Starts a worker; what is wrong with it shows in the first call."""
        remote = self._ray.remote(Worker)
        return WorkerHandle(remote.options(num_cpus=self._cpus, num_gpus=self._gpus).remote(*self._make))

    def ended(self, calls: list[Any], seconds: float = POLL) -> list[Any]:
        """The calls that have ended, after a while."""
        ended: list[Any] = self._ray.wait(calls, num_returns=len(calls), timeout=seconds)[0]
        return ended

    def result(self, call: Any) -> Any:
        """What a call returned.

        Raises:
            WorkerLost: its worker is gone.
            WorkerUnfit: its worker could not begin.
            Exception: whatever it raised.
        """
        with self._own_errors():
            return self._ray.get(call)

    def close(self) -> None:
        """Ends the workers, and the cluster that was started for them."""
        self._ray.shutdown()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        from ray.exceptions import RayActorError, RayError, RayTaskError

        try:
            yield
        except RayTaskError as error:
            raise getattr(error, "cause", None) or CompareError(_line(error)) from error
        except RayActorError as error:
            raise (_unfit(error) or WorkerLost(_line(error))) from error
        except RayError as error:
            raise WorkerLost(_line(error)) from error


def _started(address: str | None) -> Any:
    """Ray, connected."""
    # Before Ray is imported: no figures of use are sent anywhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not address:
        # As Ray does by itself, with a line about it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise CompareError(
            "--executor ray needs Ray, which isn't installed: pip install 'llm-comparisons[ray]'."
        ) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(address=address or "local", **quiet, **({} if address else local))
    except Exception as error:
        raise CompareError(f"can't reach the Ray cluster {address or 'on this machine'}: {_line(error)}") from error
    return ray


def _shares(options: ClusterOptions, resources: dict[str, float], tasks: int) -> tuple[float, int]:
    """GPUs a worker, and how many workers."""
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 1.0)
    each = (1.0 if gpus else 0.0) if options.gpus is None else options.gpus
    most = int(gpus // each) if each else int(cpus)
    if most < 1:
        raise CompareError(f"--gpus-per-cell {each:g}: the cluster has {gpus:g} GPUs: name fewer.")
    if options.workers is not None and options.workers > most:
        what = f"{gpus:g} GPUs for {each:g} each" if each else f"{cpus:g} CPUs"
        raise CompareError(f"--workers {options.workers}: the cluster has {what}: name at most {most}.")
    return each, max(1, min(options.workers or most, tasks))


def _unfit(error: Exception) -> WorkerUnfit | None:
    """What a worker's beginning raised, where that is why it is gone: Ray tells it in its own error's text alone."""
    lines = [line.partition(_OURS)[2].strip() for line in str(error).splitlines() if _OURS in line]
    return WorkerUnfit(lines[-1]) if lines else None


_OURS = f"{CompareError.__name__}: "


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


log = logging.getLogger(__name__)

LOSSES = 2
"""Workers that may be lost over the cells of a task before these are tried one by one; one more fails a cell."""


class Dispatch:
    """Goes through tasks with a pool.

    Args:
        plan: the run.
        pool: where workers are hired.
        idle: those that are there, with their models.
        run: where workers write.
        intake: where what they have written is taken in.
        loaded: is given what is known of each model that is loaded.
    """

    def __init__(
        self,
        plan: Plan,
        pool: WorkerPool,
        idle: list[WorkerHandle],
        run: RunPlace,
        intake: CellIntake,
        loaded: Callable[[ModelInfo], None],
    ) -> None:
        self.plan, self.pool, self.idle, self.run, self.intake, self.loaded = plan, pool, idle, run, intake, loaded
        self._waiting: list[Task] = []
        self._running: dict[Any, tuple[WorkerHandle, Task, bool]] = {}
        self._asked_later: set[tuple[str, str]] = set()

    def through(self, tasks: list[Task]) -> None:
        """Returns when all is done, or has failed."""
        self._waiting = list(tasks)
        self._ask_later(
            *dict.fromkeys((cell.model or self.plan.spec.model.name, cell.behavior) for cell in self.plan.cells)
        )
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
        self.intake.progress.stage(
            f"{task.kind} {len(task.cells)} cells of {', '.join(task.behaviors)} on {task.model}"
        )
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
            self._waiting = [each for each in self._waiting if each not in failed]
            for each in failed:
                self._settle(each, described(error))
            return
        if loading:
            worker.model = task.model
            self.loaded(result)
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
        else:
            self._settle(again, f"its worker was lost {losses} times, perhaps for want of memory: {why}")

    def _settle(self, task: Task, error: str | None) -> None:
        """A task has ended; after the last of a behavior comes what is asked later."""
        if error is not None:
            self.intake.fail(task, error)
        if task.kind == "evaluate":
            self._ask_later(*((task.model, behavior) for behavior in task.behaviors))

    def _ask_later(self, *places: tuple[str, str]) -> None:
        """Adds a task for what is asked later of behaviors whose cells have all ended, once."""
        spec = self.plan.spec
        if spec.select is not None or not any(each.later for each in evaluations_of(spec).values()):
            return
        running = [task for _, task, _ in self._running.values()]
        open_ = {key for task in (*self._waiting, *running) if task.kind == "evaluate" for key in task.cells}
        for place in places:
            model, behavior = place
            source = next(source for source in spec.sources if source.name == model)
            cells = [cell for cell in self.plan.of(source).cells if cell.behavior == behavior]
            done = tuple(cell.key for cell in cells if cell.elements and self.intake.folder.done(cell.key))
            if done and place not in self._asked_later and open_.isdisjoint(cell.key for cell in cells):
                self._asked_later.add(place)
                self._waiting.append(Task(model, (behavior,), done, "later"))
