"""What a knowledge cost is at most, also where few questions move, and which cells nothing dominates."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from comparisons.stats.contrasts import FEWEST
from comparisons.stats.intervals import bca_interval
from comparisons.stats.units import TIE, FloatArray, blocks, check_draws, check_share, finite, units

FALL = 0.1
"""A question whose probability of the right choice falls by more has fallen."""

TESTABLE = 150
"""Questions below which "no cost" is never said."""


@dataclass(frozen=True)
class CostBounds:
    """Upper bounds of a knowledge cost, each at one level.

    Attributes:
        count: questions.
        units: independent ones.
        mean: of the mean cost, by BCa; None with one question or cluster.
        falls: of the share of questions that fall by more than `FALL`.
        cut: of the mean cost with each question's cut at `FALL`, plus (1 − `FALL`) · `falls`; None as `mean`.
    """

    count: int
    units: int
    mean: float | None
    falls: float
    cut: float | None

    @property
    def largest(self) -> float | None:
        """The limit under which all three lie; None where there is none."""
        return None if self.mean is None or self.cut is None else max(self.mean, self.falls, self.cut)

    def testable(self, margin: float) -> bool:
        """Whether so many questions can show a cost below the margin."""
        return self.units >= TESTABLE and least_limit(self.units) < margin

    def within(self, margin: float) -> bool:
        """Whether the cost is shown to lie below the margin."""
        largest = self.largest
        return self.testable(margin) and largest is not None and largest < margin


def cost_bounds(
    cost: FloatArray,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> CostBounds:
    """Bounds that together show that a cost is small (non-inferiority: Piaggio et al. 2012), also of rare large falls.

    A bootstrap knows nothing of what it has not drawn: where one question in fifty loses everything, 16 questions often
    hold none, and their bound is 0. So the share of questions that fall by more than `FALL` has its exact upper bound
    (Clopper & Pearson 1934), 1 − .05^(1/n) where none does, and so has the mean: what each question costs up to
    `FALL`, by BCa, and at most 1 − `FALL` more on that share. With clusters the share counts as one of so many
    independent units, which no dependence within them exceeds.

    Args:
        cost: [items] knowledge of the baseline minus that of the cell, paired by item, between −1 and 1.
        clusters: [items] as for `bca_interval`.
        level: of each bound, one-sided, at least .5.
    """
    check_share("level", level)
    if level <= 0.5:
        raise ValueError(f"level must lie above 0.5, not {level}")
    data = finite("cost", cost)
    count = len(units(data, clusters)[0])

    def bound(values: FloatArray) -> float | None:
        found = bca_interval(values, clusters=clusters, level=2 * level - 1, draws=draws, seed=seed)
        return None if found is None else found.high

    falls = share_bound(float((data > FALL).mean()) * count, count, level)
    cut = bound(np.minimum(data, FALL))
    return CostBounds(len(data), count, bound(data), falls, None if cut is None else cut + (1 - FALL) * falls)


def share_bound(hits: float, count: int, level: float = 0.95) -> float:
    """The exact upper bound of a share (Clopper & Pearson 1934): the quantile of Beta(hits + 1, count − hits)."""
    from scipy.special import betaincinv

    return 1.0 if hits >= count else float(betaincinv(hits + 1, count - hits, level))


def least_limit(count: int, level: float = 0.95) -> float:
    """The smallest cost that so many questions can show, where none falls: 1 − (1 − level)^(1 / count)."""
    return float(-math.expm1(math.log1p(-level) / count))


def dominance(
    shifts: FloatArray,
    costs: FloatArray,
    *,
    shift_clusters: Sequence[Hashable] | None = None,
    cost_clusters: Sequence[Hashable] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """How probable it is that each cell lies on the shift–cost frontier, and that one dominates another.

    A cell is dominated where another moves no less far at no larger a cost, and is better in one of the two; on the
    frontier lies what none dominates. The questions of shift and of cost are drawn apart, whole clusters with
    replacement, each draw for all cells at once: a share of draws is a probability.

    Args:
        shifts: [cells, items] towards the direction asked for; an item that a cell lacks, NaN, is left out.
        costs: [cells, questions].
        shift_clusters, cost_clusters: as for `bca_interval`, of items and questions.

    Returns:
        [cells] the probability of lying on the frontier, and [cells, cells] that of the first being dominated by the
        second.
    """
    check_draws(draws)
    random = np.random.default_rng(seed)
    far, dear = _drawn(shifts, shift_clusters, draws, random), _drawn(costs, cost_clusters, draws, random)
    by, on, done = np.zeros((len(far), len(far))), np.zeros(len(far)), 0
    for rows in blocks(draws, len(far) ** 2):
        shift, cost = far[:, None, done : done + rows], dear[:, None, done : done + rows]
        others, theirs = far[:, done : done + rows], dear[:, done : done + rows]
        dominated = (others >= shift - TIE) & (theirs <= cost + TIE)  # [cells, by, draws]
        dominated &= (others > shift + TIE) | (theirs < cost - TIE)
        by, on, done = by + dominated.sum(axis=2), on + (~dominated.any(axis=1)).sum(axis=1), done + rows
    return on / draws, by / draws


@dataclass(frozen=True)
class Area:
    """The area under what a method reaches within a cost, divided by the largest cost that is looked at.

    Attributes:
        value: the mean over all costs from 0 to `reach` of the largest shift that a cell of the method has within it.
        interval: 95%, [low, high], by quantiles of joint draws; None with fewer than `FEWEST` independent questions.
        reach: the largest cost that is looked at.
    """

    value: float
    interval: list[float] | None
    reach: float


def areas(
    shifts: FloatArray,
    costs: FloatArray,
    methods: Sequence[str],
    ends: Sequence[bool],
    *,
    shift_clusters: Sequence[Hashable] | None = None,
    cost_clusters: Sequence[Hashable] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Area]:
    """For each method the area under its shift–cost frontier, as `Area`; nothing where the furthest cell costs nothing.

    Within a cost lies the largest shift of the method's cells that cost no more, and at least the 0 of the unchanged
    model, so that the curve is a staircase that never falls. All are looked at up to the cost of the cell that moves
    furthest, beyond which more cost buys nothing; that cost is not drawn. Draws are those of `dominance`.

    Args:
        shifts, costs: as for `dominance`; the last cell is the unchanged model.
        methods: of each cell but the last.
        ends: which of these may be the cell that moves furthest.
        shift_clusters, cost_clusters, draws, seed: as for `dominance`.
    """
    check_draws(draws)
    random, found = np.random.default_rng(seed), []
    for values, clusters in ((shifts, shift_clusters), (costs, cost_clusters)):
        mean = values[:, ~np.isnan(values).any(axis=0)].mean(axis=1, keepdims=True)
        both = np.hstack([mean, _drawn(values, clusters, draws, random)])
        found.append(both[:-1] - both[-1])
    shift, cost = found
    furthest = max((place for place, may in enumerate(ends) if may), key=lambda place: shift[place, 0], default=None)
    if furthest is None or cost[furthest, 0] <= TIE:
        return {}
    reach = float(cost[furthest, 0])
    few = min(_count(shifts, shift_clusters), _count(costs, cost_clusters)) < FEWEST
    result = {}
    for method in dict.fromkeys(methods):
        own = [place for place, name in enumerate(methods) if name == method]
        each = _staircase(shift[own], cost[own], reach)
        low, high = np.quantile(each[1:], (0.025, 0.975)).tolist()
        result[method] = Area(float(each[0]), None if few else [low, high], reach)
    return result


def _staircase(shifts: FloatArray, costs: FloatArray, reach: float) -> FloatArray:
    """[draws] of cells, [cells, draws], the mean over costs up to `reach` of the largest shift within each."""
    order = costs.argsort(axis=0)
    best = np.maximum.accumulate(np.take_along_axis(shifts, order, axis=0), axis=0).clip(min=0)
    steps = np.vstack([np.take_along_axis(costs, order, axis=0), np.full(costs.shape[1], reach)]).clip(0, reach)
    area: FloatArray = (best * np.diff(steps, axis=0)).sum(axis=0) / reach
    return area


def _count(values: FloatArray, clusters: Sequence[Hashable] | None) -> int:
    """How many independent questions all cells have."""
    usable = np.flatnonzero(~np.isnan(values).any(axis=0)).tolist()
    return len(usable if clusters is None else {clusters[place] for place in usable})


def _drawn(
    values: FloatArray, clusters: Sequence[Hashable] | None, draws: int, random: np.random.Generator
) -> FloatArray:
    """[cells, draws] means of the cells over units drawn with replacement."""
    usable = np.flatnonzero(~np.isnan(values).any(axis=0))
    labels = None if clusters is None else [clusters[place] for place in usable.tolist()]
    parts = [units(row, labels) for row in values[:, usable]]
    sizes, count = parts[0][1], len(parts[0][1])
    weights = random.multinomial(count, np.full(count, 1 / count), draws).astype(np.float64)
    means: FloatArray = np.stack([sums for sums, _ in parts]) @ weights.T / (weights @ sizes)
    return means
