"""A worker of a cluster: makes the plan anew, loads a model once, and evaluates task after task.

It writes the cells of its tasks into the run's folder itself where it sees that; else it hands their files back.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.experiment.specification import Cell, Plan, Specification
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.cells import CELLS, CHOSEN, CellStore
from comparisons.results.identity import CellId
from comparisons.running.executor import check_layers, write_kept
from comparisons.running.planning import make_plan
from comparisons.running.provenance import ModelInfo, identify_data
from comparisons.running.runner import CellRunner, fitter_of
from comparisons.running.sinks import Silent
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest

Files = Mapping[str, bytes]
"""Files of a run's folder, by their paths there."""


@dataclass(frozen=True)
class Task:
    """One piece of a run: cells that share fits and a prompt's cache, of one behavior on one model.

    Attributes:
        model: its name.
        behavior: its name.
        cells: their texts.
        kind: "evaluate" them; or ask what can only be asked "later".
        heavy: whether something is trained.
        losses: how many workers were lost over it.
    """

    model: str
    behavior: str
    cells: tuple[str, ...]
    kind: Literal["evaluate", "later"] = "evaluate"
    heavy: bool = False
    losses: int = 0


@dataclass(frozen=True)
class RunPlace:
    """Where a run's cells go.

    Attributes:
        path: the run's folder.
        digest: of its specification.
        mark: name of a file that is in the folder while the run goes on: who sees it sees the run's own folder.
    """

    path: Path
    digest: str
    mark: str


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Attributes:
        cells: the texts of those that it wrote.
        files: theirs, and those of what was chosen, where the worker doesn't see the run's folder; else empty.
        warnings: what was warned of, a line each.
    """

    cells: tuple[str, ...]
    files: Files
    warnings: tuple[str, ...]


class Worker:
    """Runs in a process of its own, on this machine or another.

    Args:
        spec: of the run.
        folder: the working directory of the command; every machine must have it.
        store: where fitted artifacts are, seen from there.
        data: the digest of the run's data, methods and version.

    Raises:
        CompareError: this machine lacks the folder, or has other data, methods or another version.
    """

    def __init__(self, spec: Specification, folder: str, store: str, data: str) -> None:
        from dotenv import load_dotenv

        self._lm: LM | None = None
        self._warnings = _Warnings()
        logging.getLogger("comparisons").addHandler(self._warnings)
        try:
            os.chdir(folder)
        except OSError as error:
            raise CompareError(
                f"the node {_node()} has no folder {folder}: start the run in one that every node sees."
            ) from error
        load_dotenv(".env")
        self.plan = make_plan(spec)
        self.store = Store(Path(store))
        if json_digest(identify_data(self.plan)) != data:
            raise CompareError(
                f"the node {_node()} has other data, other methods or another version of this program than the one "
                "where the run was started: make them the same."
            )

    def load(self, model: str) -> ModelInfo:
        """Loads a model, unless it is the one that is held, and describes it."""
        source = self._source(model)
        part = self.plan.of(source)
        if self._lm is None or self._lm.name != model:
            self._lm = None
            self._lm = load(source)
            check_layers(part, self._lm)
        return ModelInfo.of(part, self._lm)

    def work(self, task: Task, run: RunPlace, files: Files) -> Done:
        """Does a task.

        Args:
            task: what to do.
            run: where the cells go.
            files: what a worker that doesn't see the run's folder must know of it.
        """
        self.load(task.model)
        with self._folder(task, run, files) as folder:
            before = dict(folder.entries)
            runner = self._runner(task, folder)
            every = [cell for cell in runner.plan.cells if cell.behavior == task.behavior]
            cells = runner.selected([cell for cell in every if cell.key in task.cells])
            if task.kind == "evaluate":
                runner.run([cell for cell in cells if not folder.done(cell.key)])
            if task.kind == "later" or runner.plan.spec.select is not None:
                runner.ask_later([every[0], *(cell for cell in cells if cell.elements)])
            written = tuple(cell for cell, entry in folder.entries.items() if entry is not before.get(cell))
            changed = {} if folder.path == run.path else _changed(folder.path, files)
        return Done(written, changed, self._warnings.taken())

    def keep(self, task: Task, key: str, run: RunPlace, files: Files) -> Files:
        """The files of a done cell's intervention.

        Args:
            task: of the cell's behavior.
            key: the cell's.
            run: the run's folder, as a program that is started there will see the model from.
            files: as for `work`.
        """
        self.load(task.model)
        with self._folder(task, run, files) as folder, tempfile.TemporaryDirectory() as scratch:
            runner = self._runner(task, folder)
            every = [cell for cell in runner.plan.cells if cell.behavior == task.behavior]
            cell = next(cell for cell in runner.selected(every) if cell.key == key)
            write_kept(runner, cell, Path(scratch), run.path)
            return _read(Path(scratch))

    @contextmanager
    def _folder(self, task: Task, run: RunPlace, files: Files) -> Iterator[CellStore]:
        """The run's folder, as far as a task needs it, or one that stands in for it where it isn't seen."""
        with tempfile.TemporaryDirectory() as scratch:
            shared = (run.path / run.mark).exists()
            folder = CellStore(run.path if shared else Path(scratch), run.digest)
            if not shared:
                for name in (CELLS, CHOSEN):
                    (folder.path / name).mkdir()
                for name, data in files.items():
                    (folder.path / name).write_bytes(data)
            folder.load(needed(self.plan, task))
            yield folder

    def _runner(self, task: Task, folder: CellStore) -> CellRunner:
        assert self._lm is not None
        part = self.plan.of(self._source(task.model))
        return CellRunner(part, fitter_of(part, task.behavior, self._lm, self.store), folder, Silent())

    def _source(self, model: str) -> ModelSource:
        return next(source for source in self.plan.spec.sources if source.name == model)


def needed(plan: Plan, task: Task) -> list[CellId]:
    """The cells that a task reads: its own, and the baseline."""
    own = [cell.id for cell in plan.cells if cell.key in task.cells]
    return list(dict.fromkeys([own[0].baseline, *own]))


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
        tasks.append(Task(model, behavior, tuple(cell.key for cell in cells), heavy=heavy))
    return sorted(tasks, key=lambda task: not task.heavy)


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


class _Warnings(logging.Handler):
    """Keeps warnings, which would be lost in a worker's log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def taken(self) -> tuple[str, ...]:
        """What there was since."""
        lines, self._lines = self._lines, []
        return tuple(lines)


def _read(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _changed(folder: Path, before: Files) -> dict[str, bytes]:
    return {name: data for name, data in _read(folder).items() if before.get(name) != data}


def _node() -> str:
    import socket

    return socket.gethostname()
