"""P-values by counting (McNemar's, a rank among random ones), and what a number of items can show."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.intervals import student_t
from comparisons.stats.units import TIE, FloatArray, check_share, finite, units


class Flips(NamedTuple):
    """How many items changed their preferred answer, and whether one way more than the other.

    Attributes:
        gained: items that preferred the matching answer only in the cell.
        lost: items that preferred it only in the baseline.
        p_value: two-sided.
    """

    gained: int
    lost: int
    p_value: float


class Rank(NamedTuple):
    """Where a value stands among random ones.

    Attributes:
        below, above: how many random ones are at most, and at least, as large; ties count in both.
        randoms: how many random ones there are.
        p_value: two-sided.
    """

    below: int
    above: int
    randoms: int
    p_value: float


def mcnemar(baseline: ArrayLike, cell: ArrayLike, *, mid_p: bool = False) -> Flips:
    """McNemar's exact test (1947) of whether items flip toward the matching answer as often as away from it.

    Under the null the gained count is binomial with n = gained + lost and one half. With k the smaller count,
    p = min(1, 2 · P(X <= k)), exact and conservative; the mid-p value 2 · P(X <= k) − P(X = k) (Lancaster 1961;
    Fagerland, Lydersen & Laake 2013) is nearer to its level, at the price of exceeding it slightly at times.
    Items count as independent: where they share templates, give `sign_flip_p` cell − baseline with the clusters.

    Args:
        baseline: [items] whether the matching answer was preferred (p_match > 0.5).
        cell: [items] the same with the intervention.
        mid_p: the mid-p value instead of the exact one.

    Returns:
        Both counts and the p-value, 1.0 where nothing flipped.
    """
    before, after = np.asarray(baseline), np.asarray(cell)
    if before.ndim != 1 or not before.size or before.shape != after.shape:
        raise ValueError(f"baseline and cell must be one truth value an item: {before.shape} and {after.shape}")
    if before.dtype != np.bool_ or after.dtype != np.bool_:
        raise ValueError(f"baseline and cell must be truth values, not {before.dtype} and {after.dtype}")
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    count, least = gained + lost, min(gained, lost)
    return Flips(gained, lost, coin_p(least, count, mid_p))


def coin_p(heads: int, throws: int, mid_p: bool = False) -> float:
    """Two-sided p-value of so many heads of a fair coin, exact or mid-p; see `mcnemar`."""
    from scipy.special import bdtr

    least = min(heads, throws - heads)
    if not throws:
        return 1.0
    more = bdtr(least, throws, 0.5)
    # The mid-p value leaves one of the two P(X = least) out.
    fewer = (bdtr(least - 1, throws, 0.5) if least else 0.0) if mid_p else more
    return min(1.0, float(more + fewer))


def rank_among(observed: float, random: ArrayLike) -> Rank:
    """The two-sided Monte Carlo p-value of a value among random ones: twice the smaller tail, and at most 1.

    2 · min(1 + #{random <= observed}, 1 + #{random >= observed}) / (1 + n). Each side by itself, because the random
    ones need not lie around 0: a random push moves a lopsided baseline towards the middle. Under the null the
    observed one is as good as one more random draw, so each rank is as likely and each tail's p-value is exact for
    any n (Barnard 1963; North et al. 2002; Phipson & Smyth 2010). It is never below 2 / (1 + n): see `randoms_needed`.

    Args:
        observed: the shift of the vector that is judged.
        random: [n] shifts of random vectors of its norm, at its layer and strength, on the same items.
    """
    values = finite("random", random)
    value = float(finite("observed", [observed])[0])
    slack = TIE * max(abs(value), float(np.abs(values).max()))
    below, above = int((values <= value + slack).sum()), int((values >= value - slack).sum())
    return Rank(below, above, len(values), min(1.0, 2 * (1 + min(below, above)) / (1 + len(values))))


def randoms_needed(level: float, *, cells: int = 1) -> int:
    """The fewest random vectors with which a rank can reach a level: ⌈2 · cells / level⌉ − 1.

    At .05 that is 39, which leaves no room for one random vector that is larger by chance; the 199 that are the
    default resolve .01, enough for Holm over five cells.

    Args:
        level: the p-value that must be within reach, between 0 and 1.
        cells: the size of the table that the p-value is corrected for.
    """
    check_share("level", level)
    if cells < 1:
        raise ValueError(f"cells must be at least 1, not {cells}")
    return math.ceil(2 * cells / level * (1 - TIE)) - 1


def standard_error(values: FloatArray, *, clusters: Sequence[Hashable] | None = None) -> float | None:
    """The standard error of the mean: √(m/(m − 1) · Σ (sum − mean · size)²) / N over m units with N items.

    With items alone this is sd / √N. With clusters it is the ratio estimator's (Cochran 1977, Sampling
    Techniques, chapter 6), the clusters being the units.

    Args:
        values: [items].
        clusters: [items] as for `bca_interval`.

    Returns:
        In the unit of the values; None with a single unit.
    """
    sums, sizes = units(finite("values", values), clusters)
    count, total = len(sums), float(sizes.sum())
    if count < 2:
        return None
    left = sums - float(sums.sum()) / total * sizes
    return math.sqrt(count / (count - 1) * float(left @ left)) / total


def minimum_detectable_shift(
    differences: FloatArray, *, clusters: Sequence[Hashable] | None = None, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest true shift that a test on these items would find with the given power.

    (t(1 − alpha/2) + t(power)) · standard error, with t the quantile of Student's t for one degree of freedom less
    than there are units (Cohen 1988, chapter 2): 2.80 standard errors for many units, as in the normal
    approximation, and 3.15 for ten, where the normal one finds its shift in .66 of cases and this in .76. A
    shift below it that "isn't significant" is not evidence of no effect. docs/validity.md has the power that
    `sign_flip_p` reaches there.

    Args:
        differences: [items] paired differences, whose spread is taken as the truth's.
        clusters: [items] as for `bca_interval`.
        alpha: two-sided level of the test; for a table, divide it by the number of cells.
        power: the chance of finding the shift.

    Returns:
        In the unit of the differences; 0.0 where they don't differ, None with a single unit.
    """
    error = standard_error(differences, clusters=clusters)
    if error is None:
        return None
    return _distance(alpha, power, len(units(finite("differences", differences), clusters)[0])) * error


def detectable_shift(deviation: float, items: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The minimum detectable shift for so many independent items of this standard deviation.

    Args:
        deviation: of one item's difference, at least 0.
        items: how many, at least 2.
        alpha: as for `minimum_detectable_shift`.
        power: likewise.
    """
    if items < 2 or deviation < 0:
        raise ValueError(f"items must be at least 2 and the deviation at least 0, not {items} and {deviation}")
    return _distance(alpha, power, items) * deviation / math.sqrt(items)


def items_needed(shift: float, deviation: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """The fewest independent items, at least 2, that find a shift of this size with the given power.

    Args:
        shift: not 0.
        deviation: standard deviation of one item's difference, at least 0.
        alpha: as for `minimum_detectable_shift`.
        power: likewise.
    """
    if not shift or deviation < 0:
        raise ValueError(f"the shift must not be 0, nor the deviation negative: {shift} and {deviation}")
    _check_shares(alpha, power)
    normal = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    items = max(2, math.ceil((normal * deviation / shift) ** 2))  # Student's t asks for a few more
    while detectable_shift(deviation, items, alpha=alpha, power=power) > abs(shift):
        items += 1
    return items


def _distance(alpha: float, power: float, count: int) -> float:
    """How many standard errors out a shift lies that is found, with this many units."""
    _check_shares(alpha, power)
    return student_t(1 - alpha / 2, count - 1) + student_t(power, count - 1)


def _check_shares(alpha: float, power: float) -> None:
    check_share("alpha", alpha)
    check_share("power", power)
