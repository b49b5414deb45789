"""Choosing at a matched cost: `--select "cost<=0.02"`.

For each stack the settings and the strength with the largest shift on dev win, among those whose knowledge cost on dev
has an upper bound within the limit, so that methods are compared at what they may cost. Nothing of it reads a test
question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Cell, Plan
from comparisons.method.settings import STRENGTH, parse_limit
from comparisons.running.sinks import ResultSink
from comparisons.running.trials import Trial, element_trials, nothing_within, select


class Selector:
    """Selects settings and strengths for the stacks of one behavior, each once: choices.json keeps what was found.

    An element's open settings, and its dose where the user has not set it, are chosen with the element alone, so that
    a stack's parts equal the single rows; the last element's together with the stack where its fit needs what stands
    below it.

    Args:
        plan: the run, with a limit.
        fitter: where the behavior's methods are fitted.
        folder: the run's.
        stage: told what is done.

    Attributes:
        trials: how many trials stand behind each cell, by its key.
    """

    def __init__(self, plan: Plan, fitter: Fitter, folder: ResultSink, stage: Callable[[str], None]) -> None:
        assert plan.spec.select is not None
        self.plan, self.fitter, self.folder, self.stage = plan, fitter, folder, stage
        self.limit = parse_limit(plan.spec.select)
        self.blocks = len(fitter.lm.blocks)
        self.most = candidates_each(plan, self.blocks)
        self.trials: dict[str, int] = {}

    def cells(self, group: Sequence[Cell]) -> list[Cell]:
        """A stack's cells at what is selected.

        Raises:
            CompareError: nothing keeps within the limit.
        """
        last, spent = len(group[0].elements) - 1, 0
        for place in range(last + 1):
            method = group[0].elements[place].method
            jointly = place == last and (last == 0 or "below" in method.needs)
            if method.candidates(self.blocks) and not jointly:
                record, trial = self._selected(self._alone(group, place), 0)
                spent += len(record["trials"])
                group = [_with_chosen(cell, place, trial, last) for cell in group]
        record, trial = self._selected(group, last)
        found = [
            replace(cell, elements=trial.elements[cell.direction])
            for cell in group
            if cell.strength == trial.strength and cell.direction is not None
        ]
        self.trials |= {cell.key: spent + len(record["trials"]) for cell in found}
        return found

    def _alone(self, group: Sequence[Cell], place: int) -> list[Cell]:
        """Cells of one element of a stack without the others, at every strength of the run, or at the one set."""
        found = []
        for element in dict.fromkeys(cell.elements[place] for cell in group):
            set_by_user = STRENGTH in self.plan.spec.settings.get(element.name, {})
            open_dose = element.method.dosed and not set_by_user
            if place == len(group[0].elements) - 1:
                element = replace(element, strength=1.0)
            for strength in self.plan.spec.strengths if open_dose else (element.strength,):
                own = replace(element, strength=strength, fixed=False)
                cell = Cell(group[0].behavior, element.name, (own,), element.direction, strength, model=group[0].model)
                found += [cell] if cell not in found else []
        return found

    def _selected(self, group: Sequence[Cell], place: int) -> tuple[Mapping[str, Any], Trial]:
        trials = element_trials(group, place, self.blocks, self.most)
        key = repr(("select", self.limit, [(t.strength, sorted(t.elements.items())) for t in trials]))
        key = f"select {group[0].label} {sha256(key.encode()).hexdigest()[:16]}"
        model = group[0].model
        record: Mapping[str, Any] | None = self.folder.choice(key, self.fitter.behavior.name, model)
        if record is None:
            orders, dev = self.plan.orders, self.plan.knowledge_dev
            record = select(self.fitter, _named(group[0]), trials, dev, self.limit, orders, self.stage)
            record = {**record, "model": model} if model else record
            self.folder.add_choice(key, record)
        if record["selected"] is None:
            raise nothing_within(record)
        return record, trials[record["selected"]]


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


def _named(cell: Cell) -> str:
    return f"{cell.label} ({cell.variant})" if cell.variant else cell.label
