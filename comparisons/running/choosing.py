"""Chooses settings on the dev split: every candidate at strength 1, and of those whose two-sided shift reaches nine
tenths of the largest, the mildest. What is a fit of its own in each direction, as a learning rate is, is chosen so by
one direction alone, and the other is fitted with that.

Past that a stronger change moves the choices little further and breaks other things, which dev's choices don't show.

With `--select "cost<=0.05"` the settings and the strength win that have the largest shift on dev among those whose
knowledge cost, KL or coherence on dev is shown to keep within the limit, so that methods are compared at what they may
cost.
Nothing of it reads a test question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np

from comparisons.dataset.behaviors import Order
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element
from comparisons.intervention import Intervention, stack
from comparisons.method.interface import Method
from comparisons.method.settings import STRENGTH
from comparisons.results.cells import CellStore
from comparisons.running.dev import Dev, dev_choices
from comparisons.running.trials import Trial, element_trials, nothing_within, select, two_sided
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError

ENOUGH = 0.9
"""Share of the largest two-sided shift that a milder candidate must reach."""


@dataclass(frozen=True)
class Choice:
    """What dev chose for one method.

    Attributes:
        method: with the chosen settings.
        record: the trials, as choices.json keeps them.
    """

    method: Method
    record: Mapping[str, Any]


def choose(
    fitter: Fitter,
    element: Element,
    below: Sequence[Element],
    directions: Sequence[Direction],
    orders: Sequence[Order],
    advance: Callable[[str], None],
) -> Choice:
    """Tries an element's candidates on dev.

    Args:
        fitter: the behavior, with a dev split.
        element: whose method has candidates.
        below: what its fit reads beneath it; the candidates are then judged on top of it.
        directions: the run's.
        orders: the orders to ask in.
        advance: told what is tried.
    """
    candidates = element.method.candidates(len(fitter.lm.blocks))
    ask = partial(_shifts, fitter, element, below, orders=orders, advance=advance)
    search = search_direction(candidates, directions)
    if search:
        shifts, asked = _searched(ask, candidates, search, [d for d in directions if d != search])
    else:
        shifts, asked = ask(candidates, directions), {*range(len(candidates))}
    towards = _towards(shifts)
    if np.isnan(towards).all():
        raise CompareError(f"no candidate setting of {element.name} could be evaluated on dev.")
    best = candidates[_winner(towards, element.method.mild_first)]
    # One candidate is a choice too: of what was open.
    given = element.method.settings()
    varying = [name for name in given if {c.settings()[name] for c in candidates} != {given[name]}]
    numbers = [
        {f"shift_{d}": _number(values[i]) for d, values in shifts.items()} | ({} if i in asked else {"only": search})
        for i in range(len(candidates))
    ]
    record = {
        "behavior": fitter.behavior.name,
        "method": element.name,
        "directions": list(directions),
        "n_items": len(fitter.behavior.dev),
        "chosen": {name: best.settings()[name] for name in varying},
        "trials": [
            {"settings": {name: each.settings()[name] for name in varying}, **shown, "two_sided": _number(both)}
            for each, shown, both in zip(candidates, numbers, towards, strict=True)
        ],
    }
    return Choice(best, record)


def search_direction(candidates: Sequence[Method], directions: Sequence[str]) -> Direction | None:
    """The direction in which alone it is chosen between fits; None where that would spare none."""
    fits = {repr(candidate.fit_settings()) for candidate in candidates}
    spares = len(fits) > 1 and len(directions) > 1 and candidates[0].fits == "direction"
    return "pos" if spares else None


def _searched(
    ask: Callable[[Sequence[Method], Sequence[Direction]], dict[Direction, np.ndarray]],
    candidates: Sequence[Method],
    search: Direction,
    others: Sequence[Direction],
) -> tuple[dict[Direction, np.ndarray], set[int]]:
    """The candidates' shifts, but for the one direction only those of the fit that it takes, and which these are.

    Where none of them has a shift in the others, the fit that is next is taken.
    """
    shifts = ask(candidates, [search])
    shifts |= {direction: np.full(len(candidates), np.nan) for direction in others}
    left, asked = _towards({search: shifts[search]}), set[int]()
    while not np.isnan(left).all() and np.isnan(_towards(shifts)).all():
        fit = candidates[_winner(left, candidates[0].mild_first)].fit_settings()
        same = [i for i, candidate in enumerate(candidates) if candidate.fit_settings() == fit]
        for direction, values in ask([candidates[i] for i in same], others).items():
            shifts[direction][same] = values
        left[same], asked = np.nan, asked | {*same}
    return shifts, asked


def _towards(shifts: Mapping[Direction, np.ndarray]) -> np.ndarray:
    """The candidates' two-sided shifts; NaN for one that has none."""
    return np.array([two_sided(dict(zip(shifts, each, strict=True))) for each in zip(*shifts.values(), strict=True)])


def _winner(towards: np.ndarray, mild_first: bool) -> int:
    """The candidate that wins, by its mean two-sided shift; NaN for one that has none."""
    largest = int(np.nanargmax(towards))
    if towards[largest] <= 0:
        return largest
    enough = np.flatnonzero(towards >= ENOUGH * towards[largest])
    return int(enough[0 if mild_first else -1])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _shifts(
    fitter: Fitter,
    element: Element,
    below: Sequence[Element],
    candidates: Sequence[Method],
    directions: Sequence[Direction],
    *,
    orders: Sequence[Order],
    advance: Callable[[str], None],
) -> dict[Direction, np.ndarray]:
    """Mean shifts of the candidates on dev at strength 1, by direction; NaN where one isn't finite."""
    tried: list[Intervention] = []
    for direction in directions:
        beneath = fitter.build([e if e.fixed else replace(e, direction=direction) for e in below]).intervention
        tried.append(beneath)
        advance(f"fit {element.name} {direction}")
        for candidate in candidates:
            part = replace(element, method=candidate, direction=direction, strength=1.0)
            tried.append(stack((beneath, fitter.use(part, fitter.fitted(part, beneath)))))
    advance(f"choose {element.name} on dev")
    # Of all directions at once: they share prompts, and often what stands beneath.
    p_match = dev_choices(fitter, fitter.behavior.dev, tried, orders).p_match.mean(axis=1)
    each = p_match.reshape(len(directions), 1 + len(candidates))
    return {direction: values[1:] - values[0] for direction, values in zip(directions, each, strict=True)}


class Selected:
    """What was selected for the stacks of one behavior, as choices.json has it; the model's weights aren't needed.

    An element's open settings, and its dose where the user has not set it, are chosen with the element alone, so that
    a stack's parts equal the single rows; the last element's together with the stack where its fit needs what stands
    below it.

    Args:
        plan: the run, with a limit.
        behavior: its name.
        blocks: how many the model has.
        folder: the run's.

    Attributes:
        trials: how many trials stand behind each cell, by its key.
    """

    def __init__(self, plan: Plan, behavior: str, blocks: int, folder: CellStore) -> None:
        assert plan.spec.select is not None
        self.plan, self.behavior, self.blocks, self.folder = plan, behavior, blocks, folder
        self.limits = plan.spec.limits
        self.most = candidates_each(plan, blocks)
        self.trials: dict[str, int] = {}

    def cells(self, group: Sequence[Cell]) -> list[Cell]:
        """A stack's cells at what was selected; none where nothing was."""
        last, spent = len(group[0].elements) - 1, 0
        for place in range(last + 1):
            method = group[0].elements[place].method
            jointly = place == last and (last == 0 or "below" in method.needs)
            if method.candidates(self.blocks) and not jointly:
                alone = self._alone(group, place)
                trials = element_trials(alone, 0, self.blocks, self.most)
                record = self._record(alone[0], trials)
                if record is None or record["selected"] is None:
                    return []
                spent += len(record["trials"])
                group = [_with_chosen(cell, place, trials[record["selected"]], last) for cell in group]
        trials = element_trials(group, last, self.blocks, self.most)
        record = self._record(group[0], trials)
        if record is None or record["selected"] is None:
            return []
        trial = trials[record["selected"]]
        selected = [
            replace(cell, elements=trial.elements[cell.direction])
            for cell in group
            if cell.strength == trial.strength and cell.direction is not None
        ]
        self.trials |= {cell.key: spent + len(record["trials"]) for cell in selected}
        return selected

    def _record(self, cell: Cell, trials: Sequence[Trial]) -> Mapping[str, Any] | None:
        """What came of a stack's trials; None where they were not made."""
        return self.folder.choice(self._key(cell, trials), self.behavior, cell.model)

    def _key(self, cell: Cell, trials: Sequence[Trial]) -> str:
        text = repr(("select", sorted(self.limits.items()), [(t.strength, sorted(t.elements.items())) for t in trials]))
        return f"select {cell.label} {sha256(text.encode()).hexdigest()[:16]}"

    def _alone(self, group: Sequence[Cell], place: int) -> list[Cell]:
        """Cells of one element of a stack without the others, at every strength of the run, or at the one set."""
        alone = []
        for element in dict.fromkeys(cell.elements[place] for cell in group):
            set_by_user = STRENGTH in self.plan.spec.settings.get(element.name, {})
            open_dose = element.method.dosed and not set_by_user
            if place == len(group[0].elements) - 1:
                element = replace(element, strength=1.0)
            for strength in self.plan.spec.strengths if open_dose else (element.strength,):
                dosed = replace(element, strength=strength, fixed=False)
                cell = Cell(
                    group[0].behavior, element.name, (dosed,), element.direction, strength, model=group[0].model
                )
                alone += [cell] if cell not in alone else []
        return alone


class Selector(Selected):
    """Selects settings and strengths for the stacks of one behavior, each once.

    Args:
        dev: where is tried; of a run with a limit.
        folder: the run's.
        stage: told what is done.
    """

    def __init__(self, dev: Dev, folder: CellStore, stage: Callable[[str], None]) -> None:
        super().__init__(dev.plan, dev.fitter.behavior.name, len(dev.fitter.lm.blocks), folder)
        self.dev, self.stage = dev, stage

    def _record(self, cell: Cell, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """What came of a stack's trials, made now unless they were before.

        Raises:
            CompareError: nothing keeps within the limit.
        """
        record = super()._record(cell, trials)
        if record is None:
            record = select(self.dev, cell_name(cell), trials, self.limits, self.stage)
            record = {**record, "model": cell.model} if cell.model else record
            self.folder.add_choice(self._key(cell, trials), record)
        if record["selected"] is None:
            raise nothing_within(record)
        return record


def candidates_each(plan: Plan, blocks: int) -> int | None:
    """How many of its candidates each method with open settings is tried with: as many as the one with the fewest
    has, so that no method is tuned more than another; None where no method has any."""
    elements = [element for cell in plan.cells for element in cell.elements]
    return min((count for e in elements if (count := len(list(e.method.candidates(blocks))))), default=None)


def _with_chosen(cell: Cell, place: int, trial: Trial, last: int) -> Cell:
    """The cell with what was chosen for one of its elements; the last one's dose is the cell's."""
    elements = list(cell.elements)
    chosen = next(iter(trial.elements.values()))[0]
    strength = elements[place].strength if place == last else chosen.strength
    elements[place] = replace(elements[place], method=chosen.method, strength=strength)
    return replace(cell, elements=tuple(elements))


def cell_name(cell: Cell) -> str:
    """The stack, with the settings that vary."""
    varied = ",".join(f"{name}={value}" for name, value in cell.varied)
    return f"{cell.label} ({varied})" if varied else cell.label
