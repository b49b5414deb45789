"""Chooses settings on the dev split: every candidate at strength 1, the largest two-sided shift wins.

Where a method's candidates run from mild to strong, the mildest wins that reaches nine tenths of the largest: past
that a stronger training moves the choices little further and breaks other things, which dev's choices don't show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comparisons.dataset.behaviors import Order
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.intervention import Intervention, stack
from comparisons.method.interface import Method
from comparisons.running.trials import dev_choices, two_sided
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
    shifts = {
        direction: _shifts(fitter, element, below, candidates, direction, orders, advance) for direction in directions
    }
    towards = np.array([two_sided({d: values[i] for d, values in shifts.items()}) for i in range(len(candidates))])
    if np.isnan(towards).all():
        raise CompareError(f"no candidate setting of {element.name} could be evaluated on dev.")
    best = candidates[_winner(towards, element.method.mild_first)]
    # One candidate is a choice too: of what was open.
    given = element.method.settings()
    varying = [name for name in given if {c.settings()[name] for c in candidates} != {given[name]}]
    trials = [
        {
            "settings": {name: candidate.settings()[name] for name in varying},
            **{f"shift_{d}": _number(values[i]) for d, values in shifts.items()},
            "two_sided": _number(towards[i]),
        }
        for i, candidate in enumerate(candidates)
    ]
    record = {
        "behavior": fitter.behavior.name,
        "method": element.name,
        "directions": list(directions),
        "n_items": len(fitter.behavior.dev),
        "chosen": {name: best.settings()[name] for name in varying},
        "trials": trials,
    }
    return Choice(best, record)


def _winner(two_sided: np.ndarray, mild_first: bool) -> int:
    """The candidate that wins, by its mean two-sided shift; NaN for one that has none."""
    largest = int(np.nanargmax(two_sided))
    if not mild_first or two_sided[largest] <= 0:
        return largest
    return int(np.argmax(two_sided >= ENOUGH * two_sided[largest]))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _shifts(
    fitter: Fitter,
    element: Element,
    below: Sequence[Element],
    candidates: Sequence[Method],
    direction: Direction,
    orders: Sequence[Order],
    advance: Callable[[str], None],
) -> np.ndarray:
    """Mean shift of each candidate on dev, in one direction, at strength 1; NaN where it isn't finite."""
    beneath = fitter.build([e if e.fixed else replace(e, direction=direction) for e in below]).intervention
    tried: list[Intervention] = [beneath]
    for candidate in candidates:
        part = replace(element, method=candidate, direction=direction, strength=1.0)
        advance(f"fit {element.name} {direction}")
        artifact = fitter.fitted(part, beneath)
        tried.append(stack((beneath, fitter.use(part, artifact))))
    advance(f"choose {element.name} {direction} on dev")
    choices = dev_choices(fitter, fitter.behavior.dev, tried, orders)
    return np.asarray(choices.p_match[1:].mean(axis=1) - choices.p_match[0].mean())
