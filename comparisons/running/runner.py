"""Cells in, rows out: chooses, fits, evaluates and commits; a failure is a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from comparisons.evaluation.cells import measure
from comparisons.evaluation.interface import Asking, CellToAsk
from comparisons.evaluation.ledger import Ledger, Letters
from comparisons.evaluation.measures import Row, first_look
from comparisons.evaluation.registry import evaluations_of
from comparisons.experiment.fitting import Built, Fitter, again, fitter_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element
from comparisons.judges.judge_set import JudgeSet
from comparisons.method.interface import Method
from comparisons.method.settings import setting_text
from comparisons.model.lm import LM
from comparisons.results.cells import CellStore
from comparisons.running.asking import Later, SharedQuestions, asked_together
from comparisons.running.choosing import Selector, choose
from comparisons.running.dev import Dev
from comparisons.running.matching import Matcher
from comparisons.running.progress import Progress
from comparisons.running.trials import first_dose, stacks_of
from comparisons.util.artifacts import Store
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError, described
from comparisons.util.memory import most_used
from comparisons.util.plugins import settings_kept


@dataclass(frozen=True)
class Ready:
    """A cell whose intervention is built, from its elements with their settings chosen.

    Attributes:
        more: by the further seeds of its fits.
    """

    cell: Cell
    built: Built
    elements: tuple[Element, ...]
    settings: dict[str, Any]
    ledger: dict[str, Any]
    more: tuple[Built, ...] = ()


def execute(
    plan: Plan, lm: LM, store: Store, folder: CellStore, progress: Progress, judges: JudgeSet | None = None
) -> Plan:
    """Evaluates every cell of a plan of one model that isn't done; never raises for a cell's own failure.

    Args:
        plan: the run, or its part on this model.
        lm: the model.
        store: of fitted artifacts.
        folder: where rows go.
        progress: told what is done.
        judges: judges of open-ended answers.

    Returns:
        The plan with the cells that count: all, or those at the strengths that `--select` took.
    """
    progress.advance(sum(folder.done(cell.key) for cell in plan.cells))
    taken: list[Cell] = []
    for runner, cells in evaluated(runners_of(plan, plan.behaviors, lm, store, folder, progress, judges), plan.cells):
        runner.ask_later(cells)
        taken += cells
    return replace(plan, cells=tuple(taken))


def runners_of(
    plan: Plan,
    behaviors: Iterable[str],
    lm: LM,
    store: Store,
    folder: CellStore,
    progress: Progress,
    judges: JudgeSet | None = None,
) -> list[CellRunner]:
    """A runner a behavior, whose cells can be asked together."""
    fitters = {name: fitter_of(plan, name, lm, store) for name in behaviors}
    common = SharedQuestions(Asking(plan, lm, fitters), evaluations_of(plan.spec))
    return [CellRunner(plan, fitter, folder, progress, judges, common) for fitter in fitters.values()]


def evaluated(runners: Sequence[CellRunner], cells: Sequence[Cell]) -> Iterator[tuple[CellRunner, list[Cell]]]:
    """Evaluates cells that aren't done, of all behaviors what steers first; gives each behavior's once all are done."""
    taken = [runner.selected([c for c in cells if c.behavior == runner.fitter.behavior.name]) for runner in runners]
    together = asked_together([cell for cells in taken for cell in cells])
    ready = [runner.prepared(c for c in cells if c in together) for runner, cells in zip(runners, taken, strict=True)]
    if together:
        runners[0].progress.stage("evaluate what the cells of all behaviors are asked")
        subjects = [runner.subject(each) for runner, some in zip(runners, ready, strict=True) for each in some]
        runners[0].common.ask(subjects)
    for runner, some in zip(runners, ready, strict=True):
        runner.evaluate(some)
    for runner, chosen in zip(runners, taken, strict=True):
        runner.evaluate(runner.prepared(chosen))
        yield runner, chosen


class CellRunner:
    """The cells of one behavior on one model.

    Args:
        plan: the run.
        fitter: where the behavior's methods are fitted.
        folder: where rows go.
        progress: told what is done.
        judges: judges of open-ended answers.
        common: what its cells were asked together with those of other behaviors.
    """

    def __init__(
        self,
        plan: Plan,
        fitter: Fitter,
        folder: CellStore,
        progress: Progress,
        judges: JudgeSet | None = None,
        common: SharedQuestions | None = None,
    ) -> None:
        self.plan, self.fitter, self.folder, self.progress = plan, fitter, folder, progress
        self.asking = Asking(plan, fitter.lm, {fitter.behavior.name: fitter}, judges, self._baseline)
        self.evaluations, self.dev = evaluations_of(plan.spec), Dev(fitter, plan, judges)
        self.common = common or SharedQuestions(self.asking, self.evaluations)
        self.choices: dict[str, Method | Exception] = {}
        self.trials: dict[str, int] = {}
        self.tried: set[str] = set()
        self.ledger, self.letters = Ledger(fitter), Letters(fitter)

    def selected(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells at the settings and strengths that `--select` or `--match` takes on dev; all without them.

        A stack of which no setting keeps within the limits, or no strength has the value, fails, by a cell a direction.
        """
        if self.plan.spec.match is not None:
            return self._matched(cells)
        if self.plan.spec.select is None:
            return list(cells)
        selector = Selector(self.dev, self.folder, self.progress.stage)
        selected = [cell for cell in cells if not cell.elements]
        for group in stacks_of(cells):
            first = first_dose(group)
            taken = self._attempt([c for c in first if not self.folder.done(c.key)], partial(selector.cells, group))
            self.progress.advance(len(group) - len(first))
            selected += taken or first
            self.tried |= set() if taken else {cell.key for cell in first}
        self.trials |= selector.trials
        return selected

    def _matched(self, cells: Sequence[Cell]) -> list[Cell]:
        matcher = Matcher(self.dev, self.folder, self.settled, self.progress.stage)
        taken = [self._attempt([cell], partial(matcher.cell, cell)) for cell in cells]
        self.tried |= {cell.key for cell, found in zip(cells, taken, strict=True) if found is None}
        return [found or cell for cell, found in zip(cells, taken, strict=True)]

    def prepared(self, cells: Iterable[Cell]) -> list[Ready]:
        """Builds each cell that is neither done nor failed."""
        waiting = [cell for cell in cells if not self.folder.done(cell.key) and cell.key not in self.tried]
        built = [self._attempt([cell], partial(self.build, cell)) for cell in waiting]
        self.tried |= {cell.key for cell in waiting}
        return [ready for ready in built if ready is not None]

    def evaluate(self, ready: Sequence[Ready]) -> None:
        """Groups cells that share a prompt's cache, and evaluates group by group."""
        groups: dict[object, list[Ready]] = {}
        for each in ready:
            groups.setdefault(each.built.intervention.simplified().prefix_key, []).append(each)
        for group in groups.values():
            self._evaluate(group)

    def build(self, cell: Cell) -> Ready:
        """Chooses the open settings of a cell's elements, fits them, and stacks their interventions."""
        self.progress.stage(f"fit {cell.label} on {cell.behavior}")
        elements = self.settled(cell)
        settings = {f"{e.name}.{key}": _plain(value) for e in elements for key, value in e.method.settings().items()}
        settings |= {f"{e.name}.strength": e.strength for e in elements[:-1] if e.method.dosed}
        blocks = len(self.fitter.lm.blocks)
        tried = sum(len(element.method.candidates(blocks)) for element in cell.elements)
        built, *more = (
            again(self.fitter, self.plan, seed).build(elements) for seed in cell.seeds or (self.fitter.seed,)
        )
        return Ready(
            cell,
            built,
            tuple(elements),
            settings,
            {"tuning_trials": self.trials.get(cell.key, tried), **self.ledger.of(elements)},
            tuple(more),
        )

    def settled(self, cell: Cell) -> list[Element]:
        """A cell's elements with their open settings chosen."""
        elements: list[Element] = []
        for each in cell.elements:
            element = replace(each, method=each.method.under(self.plan.measure))
            elements.append(replace(element, method=self._resolved(element, elements)))
        return elements

    def _resolved(self, element: Element, below: Sequence[Element]) -> Method:
        """The element's method with its open settings chosen on dev, once for all cells that share the choice."""
        if not element.method.candidates(len(self.fitter.lm.blocks)):
            return element.method
        context = list(below) if "below" in element.method.needs else []
        beneath = [(e.name, e.method, e.strength, e.direction if e.fixed else None) for e in context]
        key = repr((element.name, element.method, beneath))
        if key not in self.choices:
            try:
                self.choices[key] = self._choose(key, element, context)
            except Exception as error:
                self.choices[key] = error
        chosen = self.choices[key]
        if isinstance(chosen, Exception):
            raise chosen
        return chosen

    def _choose(self, key: str, element: Element, context: Sequence[Element]) -> Method:
        """Reads the choice from choices.json, or makes it and writes it there."""
        model = self.plan.cells[0].model
        known = self.folder.choice(key, self.fitter.behavior.name, model)
        if known is not None:
            return replace(element.method, **known["chosen"])
        spec = self.plan.spec
        directions: list[Direction] = [d for d in ("pos", "neg") if d in spec.directions]
        choice = choose(self.fitter, element, context, directions, self.plan.orders, self.progress.stage)
        self.folder.add_choice(key, {**choice.record, "model": model} if model else choice.record)
        return choice.method

    def _evaluate(self, group: Sequence[Ready]) -> None:
        """Evaluates cells that share a prompt's cache; on a failure each alone, so that one can't spoil the rest."""
        self.progress.stage(f"evaluate {_labels(group)} on {group[0].cell.behavior}")
        if len(group) == 1:
            self._attempt([group[0].cell], partial(self._measure, group))
            return
        try:
            self._measure(group)
        except Exception:
            for ready in group:
                if not self.folder.done(ready.cell.key):
                    self._attempt([ready.cell], partial(self._measure, [ready]))

    def _measure(self, group: Sequence[Ready]) -> None:
        lm, mark, started = self.fitter.lm, self.fitter.lm.mark(), time.perf_counter()
        with lm.meter.counting() as tokens:
            cells = [self.subject(ready) for ready in group]
            results = measure(self.evaluations, self.asking, cells, self.common.results)
            for ready, result in zip(group, results, strict=True):
                result.rows += self._of_further_fits(ready)
        if lm.mark() != mark:
            raise CompareError("the model changed while it was evaluated: an intervention must leave it as it was.")
        seconds = (time.perf_counter() - started) / len(group)
        for ready, result in zip(group, results, strict=True):
            before, run = self.common.spent(ready.cell.key)
            info = self._info(ready, before + seconds, round(run + sum(tokens) / len(group)))
            if self.asking.judges is None and self.plan.spec.open_ended is not None:
                info |= {"waiting": True}
            self.folder.commit(ready.cell.id, result.rows, info | result.info)
            self.progress.ended(ready.cell, self._shift(ready.cell, result.rows), None)

    def _of_further_fits(self, ready: Ready) -> list[dict[str, Any]]:
        """What the fits by further seeds answer to what every fit is asked."""
        asked = {name: each for name, each in self.evaluations.items() if each.every_fit}
        first, fits = self.subject(ready), zip(ready.cell.seeds[1:], ready.more, strict=False)
        cells = [replace(first, intervention=b.intervention, fields={**first.fields, "seed": s}) for s, b in fits]
        return [row for result in measure(asked, self.asking, cells) for row in result.rows] if cells else []

    def _shift(self, cell: Cell, rows: Sequence[Row]) -> float | None:
        """A first look at the shift, for the display."""
        plain = self._baseline() if cell.elements else None
        return None if plain is None else first_look(rows, plain)

    @property
    def baseline(self) -> Cell:
        """The behavior's."""
        return next(c for c in self.plan.cells if c.behavior == self.fitter.behavior.name and not c.elements)

    def _baseline(self) -> list[dict[str, Any]] | None:
        return self.folder.rows(self.baseline.key) if self.folder.done(self.baseline.key) else None

    def ask_later(self, cells: Sequence[Cell]) -> None:
        """Asks every done cell what can only be asked once the baseline is known."""
        later = Later(self.evaluations, self.asking, self.folder, lambda cell: self.subject(self.build(cell)))
        later.run(cells, self.progress.stage)

    def subject(self, ready: Ready) -> CellToAsk:
        """What is asked, with the fields of all its result rows."""
        cell = ready.cell
        fields = {
            "model": self.fitter.lm.name,
            "behavior": cell.behavior,
            "cell": cell.key,
            "method": cell.label,
            "direction": cell.direction,
            "strength": cell.strength,
            "layer": ready.built.intervention.layer,
            **({"seed": cell.seeds[0]} if ready.more else {}),
        }
        return CellToAsk(ready.elements, ready.built.intervention, fields)

    def _info(self, ready: Ready, seconds: float, tokens: int) -> dict[str, Any]:
        return {
            "settings": ready.settings,
            "layer": ready.built.intervention.layer,
            "fit_seconds": round(fmean(each.fit_seconds for each in (ready.built, *ready.more)), 3),
            "eval_seconds": round(seconds, 3),
            "peak_memory_bytes": most_used(on_gpu=self.fitter.lm.device.type == "cuda"),
            "trainable_parameters": ready.built.intervention.size(),
            "untouched": ready.built.intervention.untouched,
            "tokens_run": tokens,
            "letter_cosine": self.letters.cosine(ready.built.intervention),
            "matched": self.plan.spec.match if any(e.method.dosed for e in ready.elements) else None,
            **({"seeds": list(ready.cell.seeds)} if ready.cell.seeds else {}),
            **ready.ledger,
        }

    def _attempt(self, cells: Sequence[Cell], work: Callable[[], Any]) -> Any:
        """The cell boundary: what fails here is the row of these cells; the run goes on with the model as it was."""
        lm = self.fitter.lm
        try:
            with settings_kept():
                if not lm.is_clean():  # a group of cells, each of which is now tried alone
                    lm.restore()
                outcome = work()
            if not lm.is_clean():
                lm.restore()
                raise CompareError("it changed the model or its tokenizer, which were loaded again: leave it out.")
            return outcome
        except Exception as error:
            for cell in cells:
                self.folder.commit(cell.id, [], {"error": described(error)})
                self.progress.ended(cell, None, described(error))
            return None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else setting_text(value)


def _labels(group: Sequence[Ready]) -> str:
    return ", ".join(dict.fromkeys(ready.cell.label for ready in group))
