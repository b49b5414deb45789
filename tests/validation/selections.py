"""Selection on dev, then the test: how often what a report says of a selected setting is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from comparisons import stats
from comparisons.evaluation.contrasts import judged
from comparisons.running.trials import _winner
from comparisons.stats import FloatArray
from tests.validation.families import NORMAL as ALIKE
from tests.validation.families import claims
from tests.validation.simulations import MARGIN, Sizes, Turn, runs_of

Cost = Callable[[np.random.Generator, float, int], FloatArray]


def _rare(random: np.random.Generator, cost: float, questions: int) -> FloatArray:
    return np.where(random.random(questions) < cost, 1.0, 0.0)


def _small(random: np.random.Generator, cost: float, questions: int) -> FloatArray:
    return random.normal(cost, 0.03, questions)


KINDS: dict[str, Cost] = {"few questions fall by 1": _rare, "all fall a little, deviation .03": _small}
LIMIT = 0.05
COSTS = (0.01, 0.02, 0.03, 0.04, 0.051, 0.055, 0.06, 0.08)
"""True costs of a method's settings: half of them keep within the limit."""

DEV, TEST, TEST_KNOWLEDGE = 40, 50, 180
DEV_KNOWLEDGE = (90, 200)


@dataclass(frozen=True)
class Selection:
    """How often claims on the selected settings of two methods were wrong, where no setting moves anything.

    Attributes:
        data: shape of the costs.
        dev: knowledge questions on dev.
        selected: share of runs in which dev took a setting of both.
        beyond: share of the methods that dev gave a setting that costs more than the limit.
        within: share of them of whose setting the test says that it keeps within the limit, though it costs more.
        dev_moved: share of runs in which dev's own intervals say that a selected setting moved the behavior.
        moved: share in which those of the test do.
        apart: share in which the test tells the two methods apart.
        bound: the largest `within`, `moved` and `apart` asked for.
    """

    data: str
    dev: int
    selected: float
    beyond: float
    within: float
    dev_moved: float
    moved: float
    apart: float
    bound: float


def selections_of(sizes: Sizes) -> Sizes:
    """A fifth of the runs, or where they are few a twentieth: each has 16 settings."""
    return replace(sizes, runs=max(1, sizes.runs // (5 if sizes.runs >= 1000 else 20)), draws=min(sizes.draws, 499))


def selections(sizes: Sizes, bound: float, turn: Turn) -> list[Selection]:
    """Costs of rare large falls and of many small ones, with few and many knowledge questions on dev."""
    sizes = selections_of(sizes)
    return [_selection(name, dev, sizes, bound, turn) for name in KINDS for dev in DEV_KNOWLEDGE]


def _selection(name: str, dev: int, sizes: Sizes, bound: float, turn: Turn) -> Selection:
    turn(f"selection: {name}, {dev} knowledge questions on dev")
    counts, taken, settings = np.zeros(3), 0, np.zeros(2)
    for seed, random in runs_of(sizes, f"selection {name} {dev}"):
        shifts = [ALIKE.draw(random, 2 * len(COSTS), items) - ALIKE.mean for items in (DEV, TEST)]
        places = [_selected(random, part, KINDS[name], dev, sizes, seed) for part in np.split(shifts[0], 2)]
        chosen = [place + len(COSTS) * method for method, place in enumerate(places) if place is not None]
        taken += len(chosen) == 2
        for place in chosen:
            beyond = COSTS[place % len(COSTS)] > LIMIT
            costs = KINDS[name](random, COSTS[place % len(COSTS)], TEST_KNOWLEDGE)
            largest = stats.cost_bounds(costs, draws=sizes.draws, seed=seed).largest
            settings += [beyond, beyond and largest is not None and largest <= LIMIT]
        before, after = (_said(part[chosen], sizes, seed) for part in shifts)
        counts += [before[0], *after]
    beyond, within = (settings / 2 / sizes.runs).tolist()
    dev_moved, moved, apart = (counts / sizes.runs).tolist()
    return Selection(name, dev, taken / sizes.runs, beyond, within, dev_moved, moved, apart, bound)


def _selected(
    random: np.random.Generator, shifts: FloatArray, cost: Cost, dev: int, sizes: Sizes, seed: int
) -> int | None:
    """The setting of a method that `--select` takes by its [settings, items] shifts on dev and its costs there."""
    bounds = [stats.cost_bounds(cost(random, c, dev), draws=sizes.draws, seed=seed).largest for c in COSTS]
    means = shifts.mean(axis=1).tolist()
    rows = [{"two_sided": m, "cost_bound": b, "broken": False} for m, b in zip(means, bounds, strict=True)]
    return _winner(rows, {"cost": LIMIT})


def _said(shifts: FloatArray, sizes: Sizes, seed: int) -> tuple[bool, bool]:
    """Whether intervals say of any of the cells that it moved, and of two that they differ."""
    table, last = np.vstack([shifts, np.zeros(shifts.shape[1])]), len(shifts)
    if not last:
        return False, False
    band = stats.contrasts(table, [(cell, last) for cell in range(last)], draws=sizes.draws, seed=seed)
    pair = stats.contrasts(shifts, draws=sizes.draws, seed=seed)
    moved = not all(claims(each, 0.0) for each in band)
    return moved, any(judged(each, MARGIN)[0] in ("better", "worse") for each in pair)
