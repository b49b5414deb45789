"""Trials on dev: settings and strengths of a stack, each with its shift and the bound of its knowledge cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comparisons import stats
from comparisons.dataset.behaviors import Order
from comparisons.dataset.items import Item, fact_orders
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.measures import clusters
from comparisons.evaluation.questions import ItemChoices, item_choices, questions
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Cell, Element
from comparisons.intervention import Intervention
from comparisons.method.settings import STRENGTH
from comparisons.results.findings import BROKEN
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError, described


@dataclass(frozen=True)
class Trial:
    """One setting of a stack, to be tried on dev.

    Attributes:
        elements: in each direction, with every setting chosen.
        settings: what tells it from the stack's other trials, the strength included.
        strength: the cell's.
    """

    elements: Mapping[Direction, tuple[Element, ...]]
    settings: Mapping[str, Any]
    strength: float


def element_trials(cells: Sequence[Cell], place: int, blocks: int, most: int | None = None) -> list[Trial]:
    """The trials of a stack: the candidates of one of its elements, each at every strength of its cells above 0.

    Args:
        cells: the stack's, in all directions and strengths.
        place: of the element whose candidates are tried; those of the others have been chosen.
        blocks: of the model.
        most: candidates at the most, evenly spread over their order; all by default.
    """
    method = cells[0].elements[place].method
    candidates = list(method.candidates(blocks)) or [method]
    if most is not None and most < len(candidates):
        candidates = [candidates[round(i)] for i in np.linspace(0, len(candidates) - 1, most)]
    varying = [
        name for name in method.settings() if len({repr(candidate.settings()[name]) for candidate in candidates}) > 1
    ]
    strengths = list(dict.fromkeys(cell.strength for cell in cells if cell.strength > 0))
    trials = []
    for candidate in candidates:
        for strength in strengths:
            elements: dict[Direction, tuple[Element, ...]] = {}
            for cell in cells:
                if cell.strength == strength and cell.direction is not None:
                    tried = replace(cell.elements[place], method=candidate)
                    elements[cell.direction] = (*cell.elements[:place], tried, *cell.elements[place + 1 :])
            settings = {name: candidate.settings()[name] for name in varying}
            if len(strengths) > 1 or not varying:
                settings[STRENGTH] = strength
            trials.append(Trial(elements, settings, strength))
    return trials


def stacks_of(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of each stack with one value of each of its settings, in all directions and strengths."""
    stacks: dict[object, list[Cell]] = {}
    for cell in cells:
        if cell.elements:
            stacks.setdefault((cell.label, cell.varied), []).append(cell)
    return list(stacks.values())


def first_dose(group: Sequence[Cell]) -> list[Cell]:
    """A stack's cells at the first strength that changes anything: those that fail where nothing can be selected."""
    dose = next(cell.strength for cell in group if cell.strength)
    return [cell for cell in group if cell.strength == dose]


def select(
    fitter: Fitter,
    name: str,
    trials: Sequence[Trial],
    knowledge: Sequence[Item],
    limit: float,
    orders: Sequence[Order],
    advance: Callable[[str], None],
) -> dict[str, Any]:
    """Tries settings on dev and takes the one with the largest shift within the limit.

    The shift is two-sided: the mean over the directions of the shift towards each. The cost counts in the direction in
    which its upper bound, the largest of `stats.cost_bounds`, is larger. One that breaks the model is never taken.

    Args:
        fitter: the behavior, with a dev split.
        name: of the stack, for messages.
        trials: what to try.
        knowledge: dev questions of the knowledge set.
        limit: what the bound must not exceed.
        orders: the orders to ask in.
        advance: told what is tried.

    Returns:
        The trials as choices.json keeps them; "selected" is the winner's place, None where none keeps within the limit.
    """
    rows = _tried(fitter, name, trials, knowledge, orders, advance)
    winner = _winner(rows, limit)
    return {
        "behavior": fitter.behavior.name,
        "method": name,
        "limit": limit,
        "directions": list(trials[0].elements),
        "n_items": len(fitter.behavior.dev),
        "n_knowledge": len(knowledge),
        "chosen": {} if winner is None else rows[winner]["settings"],
        "selected": winner,
        "trials": rows,
    }


def _tried(
    fitter: Fitter,
    name: str,
    trials: Sequence[Trial],
    knowledge: Sequence[Item],
    orders: Sequence[Order],
    advance: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The settings of each trial with what was measured of it, or why it failed."""
    rows: list[dict[str, Any]] = [{"settings": dict(trial.settings)} for trial in trials]
    built: dict[int, list[Intervention]] = {}
    for i, trial in enumerate(trials):
        advance(f"fit {name}")
        try:
            built[i] = [fitter.build(elements).intervention for elements in trial.elements.values()]
        except Exception as error:
            rows[i]["error"] = described(error)
    advance(f"select {name} on dev")
    try:
        numbers = _numbers(fitter, [trials[i] for i in built], list(built.values()), knowledge, orders)
        for i, measured in zip(built, numbers, strict=True):
            rows[i] |= measured
    except Exception:
        # One that fails is found by trying each alone.
        for i, interventions in built.items():
            try:
                rows[i] |= _numbers(fitter, [trials[i]], [interventions], knowledge, orders)[0]
            except Exception as error:
                rows[i]["error"] = described(error)
    return rows


def _numbers(
    fitter: Fitter,
    trials: Sequence[Trial],
    built: Sequence[Sequence[Intervention]],
    knowledge: Sequence[Item],
    orders: Sequence[Order],
) -> list[dict[str, Any]]:
    """What is measured of each trial, by its intervention in each direction."""
    tried = [Intervention(), *(one for each in built for one in each)]
    choices = dev_choices(fitter, fitter.behavior.dev, tried, orders)
    facts = dev_choices(fitter, knowledge, tried, fact_orders(orders))
    shifts, gains = (each.p_match - each.p_match[:1] for each in (choices, facts))
    templates = {item.id: item.template for item in knowledge}
    rows, place = [], 1
    for trial in trials:
        directions = list(trial.elements)
        places = range(place, place := place + len(directions))
        means: dict[Direction, float] = {d: shifts[at].mean() for d, at in zip(directions, places, strict=True)}
        groups = clusters(facts.items, templates)
        ends = [stats.cost_bounds(-gains[at], clusters=groups, seed=fitter.seed).largest for at in places]
        rows.append(
            {
                **{f"shift_{direction}": _rounded(mean) for direction, mean in means.items()},
                "two_sided": _rounded(two_sided(means)),
                **{f"cost_{d}": _rounded(-gains[at].mean()) for d, at in zip(directions, places, strict=True)},
                # Without an interval there is no bound to keep within the limit.
                "cost_bound": _rounded(max(math.inf if end is None else end for end in ends)),
                "broken": bool(max(choices.lost[at].mean() for at in places) > BROKEN),
            }
        )
    return rows


def _winner(rows: Sequence[Mapping[str, Any]], limit: float) -> int | None:
    """The trial with the largest two-sided shift whose cost stays within the limit; the first of equal ones."""
    within = [
        i
        for i, row in enumerate(rows)
        if row.get("two_sided") is not None
        and row.get("cost_bound") is not None
        and row["cost_bound"] <= limit
        and not row["broken"]
    ]
    return max(within, key=lambda i: rows[i]["two_sided"], default=None)


def nothing_within(record: Mapping[str, Any]) -> CompareError:
    """Says that no trial keeps within the limit, and how near the nearest comes."""
    bounds = [(row["cost_bound"], row["settings"]) for row in record["trials"] if row.get("cost_bound") is not None]
    nearest = min(bounds, key=lambda pair: pair[0], default=None)
    reason = next((row["error"] for row in record["trials"] if "error" in row), "none could be measured")
    if nearest is not None:
        settings = ", ".join(f"{name}={value}" for name, value in nearest[1].items())
        reason = f"the nearest, {settings}, may cost up to {nearest[0]:.3f}"
    count = len(record["trials"])
    return CompareError(
        f"none of {count} trials of {record['method']} keeps its cost on dev within {record['limit']:g}: {reason}; "
        "allow more by --select, or try smaller --strengths."
    )


def dev_choices(
    fitter: Fitter, items: Sequence[Item], tried: Sequence[Intervention], orders: Sequence[Order]
) -> ItemChoices:
    """What interventions make of dev questions."""
    asked = questions(items, orders)
    return item_choices(asked, choice_logps(fitter.lm, [question.shown for question in asked], tried))


def two_sided(shifts: Mapping[Direction, float]) -> float:
    """The mean over the directions of the shift towards each, of a mean shift over items in each."""
    return float(np.mean([shift if direction == "pos" else -shift for direction, shift in shifts.items()]))


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
