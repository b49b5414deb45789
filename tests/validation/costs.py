"""How often "no measurable cost" is said of a true cost at the margin, where it is always wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from comparisons import stats
from tests.validation.simulations import MARGIN, Sizes, Turn, runs_of

ITEMS = (50, 150, 300, 600)

Cost = Callable[[np.random.Generator, int], np.ndarray]


def _near_normal(random: np.random.Generator, items: int) -> np.ndarray:
    return random.normal(MARGIN, 0.05, items)


def _falls(share: float, size: float = 1.0) -> Cost:
    """A share of the questions falls by so much; the others by what is left of the margin."""

    def draw(random: np.random.Generator, items: int) -> np.ndarray:
        rest = (MARGIN - share * size) / (1 - share)
        return np.where(random.random(items) < share, size, random.normal(rest, 0.002, items))

    return draw


COSTS: dict[str, Cost] = {
    "near-normal, deviation .05": _near_normal,
    "2% fall by 1": _falls(0.02),
    ".54% fall by 1, the rest by .015": _falls(0.0054),
    "18% fall by .11": _falls(MARGIN / 0.11, 0.11),
}


@dataclass(frozen=True)
class Verdicts:
    """How often it was said, by each rule.

    Attributes:
        shape: of the costs.
        items: of each data set.
        bootstrap: share of runs in which the mean's bound lies below the margin, the rule before.
        two: that of the mean and that of the share of falls.
        said: all three, and the fewest questions: what reports go by.
        bound: the largest share asked for of the last.
    """

    shape: str
    items: int
    bootstrap: float
    two: float
    said: float
    bound: float


def costs_of(sizes: Sizes) -> Sizes:
    """A twentieth of the runs, of 500 draws at most."""
    return replace(sizes, runs=max(20, sizes.runs // 20), draws=min(sizes.draws, 500))


def verdicts(sizes: Sizes, bound: float, turn: Turn) -> list[Verdicts]:
    """Every shape with every number of questions."""
    return [_verdict(name, items, costs_of(sizes), bound, turn) for name in COSTS for items in ITEMS]


def _verdict(name: str, items: int, sizes: Sizes, bound: float, turn: Turn) -> Verdicts:
    turn(f"no measurable cost: {name}, {items} items")
    hits = np.zeros(3)
    for seed, random in runs_of(sizes, f"verdict {name} {items}"):
        found = stats.cost_bounds(COSTS[name](random, items), draws=sizes.draws, seed=seed)
        assert found.mean is not None
        hits += [found.mean < MARGIN, max(found.mean, found.falls) < MARGIN, found.within(MARGIN)]
    bootstrap, two, said = (float(hit) / sizes.runs for hit in hits)
    return Verdicts(name, items, bootstrap, two, said, bound)
