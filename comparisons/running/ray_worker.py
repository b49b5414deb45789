"""A worker: makes the plan anew from the specification, loads a model once, and evaluates task after task."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from comparisons.experiment.specification import Specification
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.running.executor import check_layers, write_kept
from comparisons.running.planning import make_plan
from comparisons.running.provenance import ModelInfo, identify_data
from comparisons.running.ray_mailbox import Mailbox, Send, Telling, Warnings
from comparisons.running.ray_tasks import Known, Task
from comparisons.running.runner import CellRunner, fitter_of
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest


class Worker:
    """Runs in a process of its own, on this machine or another.

    Args:
        spec: of the run.
        folder: the working directory of the command; every machine must have it.
        store: where fitted artifacts are, seen from there.
        data: the digest of the run's data, methods and version.
        send: takes messages to the writer.

    Raises:
        CompareError: this machine lacks the folder, or has other data, methods or another version.
    """

    def __init__(self, spec: Specification, folder: str, store: str, data: str, send: Send) -> None:
        from dotenv import load_dotenv

        self._lm: LM | None = None
        self.send = send
        log = logging.getLogger("comparisons")
        log.addHandler(Warnings(send))
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

    def work(self, task: Task, known: Known) -> None:
        """Does a task; what comes of it is sent, cell by cell."""
        self.load(task.model)
        run = self._run(task, known)
        every = [cell for cell in run.plan.cells if cell.behavior == task.behavior]
        cells = run.selected([cell for cell in every if cell.key in task.cells])
        if task.kind == "evaluate":
            run.run([cell for cell in cells if not run.folder.done(cell.key)])
        if task.kind == "later" or run.plan.spec.select is not None:
            run.ask_later([every[0], *(cell for cell in cells if cell.elements)])

    def keep(self, task: Task, key: str, known: Known, run: str) -> dict[str, bytes]:
        """The files of a done cell's intervention, by their paths in the run's folder.

        Args:
            task: of the cell's behavior.
            key: the cell's.
            known: of the run's folder.
            run: the run's folder, as a program that is started there will see the model from.
        """
        self.load(task.model)
        again = self._run(task, known)
        every = [cell for cell in again.plan.cells if cell.behavior == task.behavior]
        cell = next(cell for cell in again.selected(every) if cell.key == key)
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch)
            write_kept(again, cell, out, Path(run))
            return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    def _run(self, task: Task, known: Known) -> CellRunner:
        assert self._lm is not None
        part = self.plan.of(self._source(task.model))
        box, told = Mailbox(known, self.send), Telling(self.send)
        return CellRunner(part, fitter_of(part, task.behavior, self._lm, self.store), box, told)

    def _source(self, model: str) -> ModelSource:
        return next(source for source in self.plan.spec.sources if source.name == model)


def _node() -> str:
    import socket

    return socket.gethostname()
