"""Where a run's cells are evaluated: in this process, one model after the other, or by the workers of a cluster."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from comparisons.evaluation.best import write_best
from comparisons.evaluation.lettered import LetterCheck
from comparisons.experiment.fitting import fitter_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import LAYER, Cell
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM
from comparisons.model.loading import load, load_without_weights
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.running.planning import measuring
from comparisons.running.progress import Progress, Silent
from comparisons.running.provenance import ModelInfo
from comparisons.running.runner import CellRunner, execute
from comparisons.util.artifacts import Store
from comparisons.util.errors import described


class Executor(ABC):
    """Evaluates the cells of a plan.

    Args:
        plan: the run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abstractmethod
    def begin(self) -> None:
        """Loads the first model and looks at the others' configurations; writes nothing.

        Raises:
            CompareError: one can't be loaded, or a layer is none of its blocks.
        """

    def settle(self) -> ModelInfo:
        """Settles by what is measured, and describes the first model.

        Where `--measure auto` is to choose, every model is loaded and asked before any is measured: one table has one
        measure.

        Raises:
            CompareError: something that was asked for can't be had with it.
        """
        first, *more = self.plan.spec.sources
        if self.plan.spec.measure == "auto":
            self.plan = settled(self.plan, [self.describe(first).letters, *map(self._letters, more)])
        return self.describe(first)

    def _letters(self, source: ModelSource) -> LetterCheck | None:
        """How a model answers in letters; None of one that can't be loaded, which fails where its turn comes."""
        try:
            return self.describe(source).letters
        except Exception:
            return None

    @abstractmethod
    def describe(self, source: ModelSource) -> ModelInfo:
        """What is known of a model, which is loaded for it."""

    @property
    @abstractmethod
    def lm(self) -> LM | None:
        """The first model, where it is in this process."""

    @abstractmethod
    def run(
        self, folder: RunFolder, progress: Progress, judges: JudgeSet | None, loaded: Callable[[ModelInfo], None]
    ) -> Plan:
        """Evaluates every cell that isn't done and commits its rows; never raises for a cell's own failure.

        Args:
            folder: where rows go.
            progress: told what is done.
            judges: judges of open-ended answers.
            loaded: is given what is known of each further model once it is loaded.

        Returns:
            The plan with the cells that count: all, or those at the strengths that `--select` took.
        """

    @abstractmethod
    def keep(self, cell: Cell, folder: RunFolder) -> None:
        """Writes the intervention of a done cell into the run; its fits are in the store."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is held."""


class LocalExecutor(Executor):
    """Evaluates in this process, one model after the other.

    Args:
        plan: the run.
        store: of fitted artifacts.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        super().__init__(plan)
        self.store = store
        self._lm: LM | None = None

    def begin(self) -> None:
        for source in self.plan.spec.sources[1:]:
            check_layers(self.plan.of(source), load_without_weights(source))
        self._load(self.plan.spec.model)

    def describe(self, source: ModelSource) -> ModelInfo:
        return ModelInfo.of(self.plan.of(source), self._load(source), self.store)

    @property
    def lm(self) -> LM | None:
        return self._lm

    def run(
        self, folder: RunFolder, progress: Progress, judges: JudgeSet | None, loaded: Callable[[ModelInfo], None]
    ) -> Plan:
        kept: list[Cell] = []
        for source in self.plan.spec.sources:
            part = self.plan.of(source)
            try:
                progress.stage(f"load {source.name}")
                lm = self._load(source)
            except Exception as error:
                if source == self.plan.spec.model:
                    raise
                fail(part, folder, progress, described(error))
                kept += part.cells
                continue
            loaded(ModelInfo.of(part, lm, self.store))
            kept += execute(part, lm, self.store, folder, progress, judges).cells
        return replace(self.plan, cells=tuple(kept))

    def keep(self, cell: Cell, folder: RunFolder) -> None:
        source = source_of(self.plan, cell)
        part = self.plan.of(source)
        fitter = fitter_of(part, cell.behavior, self._load(source), self.store)
        write_kept(CellRunner(part, fitter, folder, Silent()), cell, folder.path, folder.path)

    def close(self) -> None:
        self._lm = None

    def _load(self, source: ModelSource) -> LM:
        """The model of this name, of which one is held at a time."""
        if self._lm is None or self._lm.name != source.name:
            self._lm = None
            self._lm = load(source)
            check_layers(self.plan.of(source), self._lm)
        return self._lm


def settled(plan: Plan, checks: Sequence[LetterCheck | None]) -> Plan:
    """The plan with what `--measure auto` comes to: letters, unless a model can't be asked by them.

    Raises:
        CompareError: something that was asked for can't be had with it.
    """
    if plan.spec.measure != "auto":
        return plan
    return measuring(plan, "letters" if all(check.able for check in checks if check) else "answers")


def source_of(plan: Plan, cell: Cell) -> ModelSource:
    """The model of a cell."""
    return next(source for source in plan.spec.sources if cell.model in ("", source.name))


def fail(plan: Plan, folder: RunFolder, progress: Progress, error: str) -> None:
    """Commits every cell that isn't done as failed."""
    for cell in plan.cells:
        if not folder.done(cell.key):
            folder.commit(cell.id, [], {"error": error})
            progress.ended(cell, None, error)


def write_kept(behavior: CellRunner, cell: Cell, out: Path, run: Path) -> None:
    """Writes the intervention of a cell under `out`, for a program that is started in `run`."""
    location = _seen_from(run, behavior.plan.spec.model.location())
    write_best(out, cell.key, behavior.build(cell).built, behavior.fitter.lm, location)


def _seen_from(run: Path, location: str) -> str:
    """A model's location for a program that is started in the run's folder; a hub id stays as it is."""
    if not Path(location).exists():
        return location
    below = Path(location).resolve().is_relative_to(Path.cwd()) and run.resolve().is_relative_to(Path.cwd())
    return os.path.relpath(location, run) if below else os.path.abspath(location)


def check_layers(plan: Plan, lm: LM) -> None:
    """Raises CompareError where a method's layer is not a block of the model."""
    layers = {element.method.settings().get(LAYER) for cell in plan.cells for element in cell.elements}
    for layer in layers:
        if isinstance(layer, int):
            lm.check_layer(layer)
