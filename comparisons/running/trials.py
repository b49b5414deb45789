"""Trials on dev: settings and strengths of a stack, each with its shift and the bounds of what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comparisons.experiment.limits import Limits
from comparisons.experiment.specification import Cell, Element
from comparisons.intervention import Intervention
from comparisons.method.settings import STRENGTH
from comparisons.results.costs import FALLING
from comparisons.results.findings import BROKEN
from comparisons.running.dev import Dev, excess, worst
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
    dev: Dev, name: str, trials: Sequence[Trial], limits: Limits, advance: Callable[[str], None]
) -> dict[str, Any]:
    """Tries settings on dev and takes the one with the largest shift within the limits.

    The shift is two-sided: the mean over the directions of the shift towards each. What is limited counts in the
    direction in which its bound is worse: of a cost the largest of `stats.cost_bounds`, of others the mean's. One
    that breaks the model is never taken.

    Args:
        dev: where is tried.
        name: of the stack, for messages.
        trials: what to try.
        limits: what the bounds must keep within.
        advance: told what is tried.

    Returns:
        The trials as choices.json keeps them; "selected" is the winner's place, None where there is none.
    """
    rows = _tried(dev, name, trials, limits, advance)
    winner = _winner(rows, limits)
    return {
        "behavior": dev.fitter.behavior.name,
        "method": name,
        "limits": dict(limits),
        "directions": list(trials[0].elements),
        "n_items": len(dev.fitter.behavior.dev),
        "n_knowledge": len(dev.plan.knowledge_dev),
        "chosen": {} if winner is None else rows[winner]["settings"],
        "selected": winner,
        "trials": rows,
    }


def _tried(
    dev: Dev, name: str, trials: Sequence[Trial], limits: Limits, advance: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The settings of each trial with what was measured of it, or why it failed."""
    rows: list[dict[str, Any]] = [{"settings": dict(trial.settings)} for trial in trials]
    built: dict[int, list[Intervention]] = {}
    for i, trial in enumerate(trials):
        advance(f"fit {name}")
        try:
            built[i] = [dev.fitter.build(elements).intervention for elements in trial.elements.values()]
        except Exception as error:
            rows[i]["error"] = described(error)
    advance(f"select {name} on dev")
    try:
        numbers = _numbers(dev, [trials[i] for i in built], list(built.values()), limits)
        for i, measured in zip(built, numbers, strict=True):
            rows[i] |= measured
    except Exception:
        # One that fails is found by trying each alone.
        for i, interventions in built.items():
            try:
                rows[i] |= _numbers(dev, [trials[i]], [interventions], limits)[0]
            except Exception as error:
                rows[i]["error"] = described(error)
    return rows


def _numbers(
    dev: Dev, trials: Sequence[Trial], built: Sequence[Sequence[Intervention]], limits: Limits
) -> list[dict[str, Any]]:
    """What is measured of each trial, by its intervention in each direction."""
    tried = [one for each in built for one in each]
    choices = dev.choices([Intervention(), *tried])
    shifts = (choices.p_match - choices.p_match[:1])[1:].mean(axis=1)
    limited = {quantity: dev.measured(quantity, tried) for quantity in limits}
    rows, place = [], 0
    for trial in trials:
        directions = list(trial.elements)
        places = range(place, place := place + len(directions))
        means: dict[Direction, float] = {d: float(shifts[at]) for d, at in zip(directions, places, strict=True)}
        row: dict[str, Any] = {f"shift_{direction}": _rounded(mean) for direction, mean in means.items()}
        row["two_sided"] = _rounded(two_sided(means))
        for quantity, measured in limited.items():
            row |= {f"{quantity}_{d}": _rounded(measured[at].value) for d, at in zip(directions, places, strict=True)}
            row[f"{quantity}_bound"] = _rounded(worst(quantity, [measured[at].bound for at in places]))
        rows.append({**row, "broken": bool(max(choices.lost[1 + at].mean() for at in places) > BROKEN)})
    return rows


def _winner(rows: Sequence[Mapping[str, Any]], limits: Limits) -> int | None:
    """The trial with the largest two-sided shift that keeps within the limits; the first of equal ones."""
    usable = [i for i, row in enumerate(rows) if row.get("two_sided") is not None and not row["broken"]]
    within = [i for i in usable if (excess := _excess(rows[i], limits)) is not None and excess <= 0]
    return max(within, key=lambda i: rows[i]["two_sided"], default=None)


def _excess(row: Mapping[str, Any], limits: Limits) -> float | None:
    """How far the bound that is furthest beyond its limit lies beyond it, in limits; None where one has no bound."""
    bounds = {quantity: row.get(f"{quantity}_bound") for quantity in limits}
    known = {name: bound for name, bound in bounds.items() if bound is not None}
    beyond = [excess(name, bound, limits[name]) / (limits[name] or 1.0) for name, bound in known.items()]
    return max(beyond) if len(beyond) == len(limits) else None


def nothing_within(record: Mapping[str, Any]) -> CompareError:
    """Says that no trial keeps within the limits, and how near the nearest comes."""
    limits: Limits = record["limits"]
    known = [(found, row) for row in record["trials"] if (found := _excess(row, limits)) is not None]
    nearest = min(known, key=lambda pair: pair[0], default=None)
    reason = next((row["error"] for row in record["trials"] if "error" in row), "none could be measured")
    if nearest is not None:
        settings = ", ".join(f"{name}={value}" for name, value in nearest[1]["settings"].items())
        verbs = {"cost": "cost up to", "kl": "have a KL of up to", "coherence": "have a coherence of only"}
        bounds = {quantity: nearest[1][f"{quantity}_bound"] for quantity in limits}
        beyond = [name for name, bound in bounds.items() if excess(name, bound, limits[name]) > 0]
        most = " and ".join(f"{verbs[name]} {bounds[name]:.3f}" for name in beyond)
        reason = f"the nearest, {settings}, {f'may {most}' if most else 'answers with something else than letters'}"
    words = ", ".join(f"{name}{'>=' if name in FALLING else '<='}{limit:g}" for name, limit in limits.items())
    return CompareError(
        f"none of {len(record['trials'])} trials of {record['method']} keeps {words} on dev: {reason}; "
        "allow more by --select, or try smaller --strengths."
    )


def two_sided(shifts: Mapping[Direction, float]) -> float:
    """The mean over the directions of the shift towards each, of a mean shift over items in each."""
    return float(np.mean([shift if direction == "pos" else -shift for direction, shift in shifts.items()]))


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
