"""Evaluates a run's cells by the workers of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from comparisons.evaluation.best import place_best
from comparisons.evaluation.registry import evaluations_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM
from comparisons.model.loading import load_without_weights
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.running.asking import asked_together
from comparisons.running.choosing import Selected
from comparisons.running.executor import Executor, check_layers, source_of
from comparisons.running.progress import Progress
from comparisons.running.provenance import ModelInfo, identify_data
from comparisons.running.ray_pool import ClusterOptions, Dispatch, WorkerHandle, WorkerLost, WorkerPool
from comparisons.running.ray_worker import CellIntake, Task, files_of, marked
from comparisons.running.trials import first_dose, stacks_of
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest

log = logging.getLogger(__name__)


class RayExecutor(Executor):
    """Gives tasks to workers, who write the cells.

    A lost worker is replaced and what it had not finished is done again; a run that is interrupted goes on as any
    other, here or on a cluster.

    Args:
        plan: the run.
        store: of fitted artifacts; every node must see its folder.
        options: what to run on.
    """

    def __init__(self, plan: Plan, store: Store, options: ClusterOptions) -> None:
        super().__init__(plan)
        self.store, self.options = store, options
        self._pool: WorkerPool | None = None
        self._idle: list[WorkerHandle] = []
        self._loaded: dict[str, ModelInfo] = {}

    @property
    def lm(self) -> LM | None:
        """None: models are where the workers are."""
        return None

    def begin(self) -> None:
        if self.plan.spec.match is not None:
            raise CompareError("--match looks for doses in one process: leave out --executor ray.")
        if "coherence" in self.plan.spec.limits:
            raise CompareError("--select by coherence asks judges in one process: leave out --executor ray.")
        data = json_digest(identify_data(self.plan))
        make = (self.plan.spec, str(Path.cwd()), str(self.store.root), data)
        self._pool = WorkerPool(self.options, make, len(tasks_of(self.plan, ())))
        # All at once: a worker's beginning takes seconds.
        self._idle = [self._pool.hire() for _ in range(self._pool.size)]
        for source in self.plan.spec.sources:
            check_layers(self.plan.of(source), load_without_weights(source))
        self.describe(self.plan.spec.model)

    def describe(self, source: ModelSource) -> ModelInfo:
        assert self._pool is not None
        try:
            info = self._pool.result(self._idle[0].actor.load.remote(source.name))
        except WorkerLost as error:
            raise CompareError(f"the worker that was to load {source.name} is gone: {error}") from error
        self._idle[0].model = source.name
        return self._described(info)

    def run(
        self, folder: RunFolder, progress: Progress, judges: JudgeSet | None, loaded: Callable[[ModelInfo], None]
    ) -> Plan:
        assert self._pool is not None
        intake = CellIntake(self.plan, folder, progress, judges)
        done = {cell.key for cell in self.plan.cells if folder.done(cell.key)}
        progress.advance(len(done))
        with marked(folder, self.plan.measure) as place:
            described = lambda info: loaded(self._described(info))  # noqa: E731
            tasks = joined(tasks_of(self.plan, done), self.plan, self._pool.size)
            Dispatch(self.plan, self._pool, self._idle, place, intake, described).through(tasks)
        # What was chosen, and how vectors rank, workers have written without a word.
        folder.load()
        return self._selected(folder)

    def keep(self, cell: Cell, folder: RunFolder) -> None:
        assert self._pool is not None
        task = Task(source_of(self.plan, cell).name, (cell.behavior,), (cell.key,))
        self._idle.sort(key=lambda worker: worker.model != task.model)
        with marked(folder, self.plan.measure) as place:
            while True:
                worker = self._idle.pop(0) if self._idle else self._pool.hire()
                call = worker.actor.keep.remote(task, cell.key, place, files_of(self.plan, task, folder))
                try:
                    place_best(folder.path, self._pool.result(call))
                    return
                except WorkerLost as error:
                    log.warning("a worker was lost over best/: %s", error)
                    if not self._idle:
                        raise CompareError(f"best/ can't be written, its worker was lost: {error}") from error

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _described(self, info: ModelInfo) -> ModelInfo:
        """What is known of a model; raises CompareError where another worker has loaded another of its name."""
        assert self._pool is not None
        name = info.model["name"]
        known = self._loaded.setdefault(
            name, replace(info, machine={**info.machine, "executor": "ray", "workers": self._pool.size})
        )
        if known.model["digest"] != info.model["digest"]:
            raise CompareError(f"the nodes of the cluster have different models under the name {name}.")
        return known

    def _selected(self, folder: RunFolder) -> Plan:
        """The plan with the cells that count, read from what was selected."""
        if self.plan.spec.select is None:
            return self.plan
        kept: list[Cell] = []
        for source in self.plan.spec.sources:
            part, blocks = self.plan.of(source), len(load_without_weights(source).blocks)
            for name in part.behaviors:
                cells = [cell for cell in part.cells if cell.behavior == name]
                kept += [cell for cell in cells if not cell.elements]
                selected = Selected(part, name, blocks, folder)
                for group in stacks_of(cells):
                    # Where nothing was selected, the first cells' rows say why.
                    kept += selected.cells(group) or first_dose(group)
        return replace(self.plan, cells=tuple(kept))


def tasks_of(plan: Plan, done: Collection[str]) -> list[Task]:
    """The cells that aren't done, in tasks; what trains comes first, so that the end is not spent waiting for it.

    Where `--select` chooses, the cells of a behavior belong together; else those that rest on the same fits.
    """
    groups: dict[tuple[str, str, object], list[Cell]] = {}
    for cell in plan.cells:
        model = cell.model or plan.spec.model.name
        if plan.spec.select is not None or cell.key not in done:
            groups.setdefault((model, cell.behavior, None if plan.spec.select else _shared(cell)), []).append(cell)
    tasks = []
    for (model, behavior, _), cells in groups.items():
        if all(cell.key in done for cell in cells):
            continue
        heavy = any(element.method.adapts for cell in cells for element in cell.elements)
        tasks.append(Task(model, (behavior,), tuple(cell.key for cell in cells), heavy=heavy))
    return sorted(tasks, key=lambda task: not task.heavy)


def joined(tasks: Sequence[Task], plan: Plan, workers: int) -> list[Task]:
    """The tasks, those of several behaviors in one whose cells are asked the same questions behind one prompt.

    Each worker gets some, so that none waits for another.
    """
    every = list(tasks)
    if plan.spec.select is not None or not any(e.across and not e.later for e in evaluations_of(plan.spec).values()):
        return every
    for source in plan.spec.sources:
        steering = {cell.key for cell in asked_together(plan.of(source).cells)}
        alike = [task for task in every if steering.issuperset(task.cells)]
        every = [task for task in every if task not in alike]
        for part in (alike[start::workers] for start in range(min(workers, len(alike)))):
            behaviors = tuple(dict.fromkeys(name for task in part for name in task.behaviors))
            every.append(replace(part[0], behaviors=behaviors, cells=tuple(c for task in part for c in task.cells)))
    return every


def _shared(cell: Cell) -> object:
    """What cells of a task have in common: fits that adapt weights, and prompts.

    Where settings are chosen, both directions wait for the same trials.
    """
    return tuple(
        (
            element.name,
            repr(element.method),
            element.direction if element.method.fits == "direction" and not element.method.candidates(1) else None,
        )
        for element in cell.elements
        if element.method.adapts or not element.method.dosed
    )
