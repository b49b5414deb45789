"""A worker of a cluster: makes the plan anew, loads a model once, and evaluates task after task.

It writes the cells of its tasks into the run's folder itself where it sees that; else it hands their files back.

What it has written is taken in where the run was started.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.dataset.items import Measure
from comparisons.evaluation.free_answers import OPEN_ENDED
from comparisons.evaluation.interface import CellResult
from comparisons.evaluation.measures import first_look
from comparisons.evaluations.open_ended import judged
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.cells import CELLS, CHOSEN, CellStore, cell_path
from comparisons.results.folder import RunFolder
from comparisons.results.identity import CellId
from comparisons.running.executor import check_layers, write_kept
from comparisons.running.planning import make_plan, measuring
from comparisons.running.progress import Progress, Silent
from comparisons.running.provenance import ModelInfo, identify_data
from comparisons.running.runner import CellRunner, evaluated, runners_of
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError, StorageError
from comparisons.util.files import json_digest, write_parts

PATIENCE = 60.0
"""Seconds in which a shared file system must show what another machine has written."""

log = logging.getLogger(__name__)

Files = Mapping[str, bytes]
"""Files of a run's folder, by their paths there."""


@dataclass(frozen=True)
class Task:
    """One piece of a run: cells that share fits or a prompt's cache, on one model.

    Attributes:
        model: its name.
        behaviors: theirs, by name.
        cells: their texts.
        kind: "evaluate" them; or ask what can only be asked "later".
        heavy: whether something is trained.
        losses: how many workers were lost over it.
    """

    model: str
    behaviors: tuple[str, ...]
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
        measure: by what the run measures.
    """

    path: Path
    digest: str
    mark: str
    measure: Measure


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
        self._warnings.taken()  # of the data, which is said where the run was started
        self.store = Store(Path(store))
        if json_digest(identify_data(self.plan)) != data:
            raise CompareError(
                f"the node {_node()} has other data, other methods or another version of this program than the one "
                "where the run was started: make them the same."
            )

    def load(self, model: str) -> ModelInfo:
        """Loads a model, unless it is the one that is held, and describes it."""
        return ModelInfo.of(self.plan.of(self._source(model)), self._hold(model), self.store)

    def _hold(self, model: str) -> LM:
        """The model of this name, of which one is held at a time."""
        if self._lm is None or self._lm.name != model:
            source = self._source(model)
            self._lm = None
            self._lm = load(source)
            check_layers(self.plan.of(source), self._lm)
        return self._lm

    def work(self, task: Task, run: RunPlace, files: Files) -> Done:
        """Does a task.

        Args:
            task: what to do.
            run: where the cells go.
            files: what a worker that doesn't see the run's folder must know of it.
        """
        self.plan = measuring(self.plan, run.measure)
        with self._folder(task, run, files) as folder:
            before = dict(folder.entries)
            runners = self._runners(task, folder)
            cells = [cell for cell in runners[0].plan.cells if cell.key in task.cells]
            done = [(runners[0], cells)] if task.kind == "later" else evaluated(runners, cells)
            for runner, chosen in done:
                if task.kind == "later" or runner.plan.spec.select is not None:
                    runner.ask_later([runner.baseline, *(cell for cell in chosen if cell.elements)])
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
        self.plan = measuring(self.plan, run.measure)
        with self._folder(task, run, files) as folder, tempfile.TemporaryDirectory() as scratch:
            (runner,) = self._runners(task, folder)
            every = [cell for cell in runner.plan.cells if cell.behavior in task.behaviors]
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

    def _runners(self, task: Task, folder: CellStore) -> list[CellRunner]:
        part, lm = self.plan.of(self._source(task.model)), self._hold(task.model)
        return runners_of(part, task.behaviors, lm, self.store, folder, Silent())

    def _source(self, model: str) -> ModelSource:
        return next(source for source in self.plan.spec.sources if source.name == model)


def needed(plan: Plan, task: Task) -> list[CellId]:
    """The cells that a task reads: its own, and their baselines."""
    cells = [cell.id for cell in plan.cells if cell.key in task.cells]
    return list(dict.fromkeys([*(cell.baseline for cell in cells), *cells]))


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


@contextmanager
def marked(folder: RunFolder, measure: Measure) -> Iterator[RunPlace]:
    """A run's folder with a mark in it, by which workers tell whether they see it."""
    # Named as what is half written, so that the mark of a process that was killed is cleared away.
    mark = folder.path.absolute() / f".{uuid.uuid4().hex}.{os.getpid()}.tmp"
    mark.touch()
    try:
        yield RunPlace(mark.parent, folder.run, mark.name, measure)
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
            log.warning("not asked later: %s in %s: %s", ", ".join(task.behaviors), task.model, error)

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
