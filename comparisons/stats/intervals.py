"""Intervals: of a mean, two groups' difference and a ratio of paired means by bootstrap; of a share after Wilson."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparisons.stats.units import (
    TIE,
    FloatArray,
    blocks,
    check_draws,
    check_share,
    finite,
    rounding,
    unit_codes,
    units,
)

_FAR = 1e100
"""Stands for infinity, between which and a number there is no quantile."""


class Interval(NamedTuple):
    """A confidence interval, in the unit of the values; `low <= high`."""

    low: float
    high: float


def bca_interval(
    values: FloatArray,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval of the mean, with expanded tails.

    BCa (Efron 1987) takes, instead of the quantile at α, the one at Φ(z0 + (z0 + z) / (1 − a(z0 + z))): z0
    corrects the median's bias, a is a sixth of the jackknife's skewness, and z = Φ⁻¹(α). Plain BCa is too
    narrow with n units, for two reasons: a resample's variance is (n − 1)/n of the unbiased one, and z
    knows nothing of the error in estimating it. So z is √(n / (n − 1)) times the quantile of Student's t with
    n − 1 degrees of freedom (Hesterberg 2015, What Teachers Should Know About the Bootstrap, there for percentile
    intervals). It matters for clusters: with ten of them plain BCa covers .89 and this .94, with five .84 and .91
    (docs/validity.md); from a hundred units on the two are alike.

    With clusters, whole clusters are drawn with replacement, the mean is the sum of their values over the
    number of their items, and the acceleration comes from leaving out one cluster at a time. No interval
    holds values that the units lack: with two or three of them it is their range. Say how many beside it.

    Args:
        values: [items]; for a shift, the differences paired by item.
        clusters: [items] a label for each item; None as a label means that the item stands alone.
        level: the coverage aimed at, between 0 and 1.
        draws: bootstrap draws.
        seed: the same seed and values give the same interval.

    Returns:
        The interval; of zero width at the mean where the units don't differ. None with a single item or
        cluster: it says nothing about the spread, so there is no interval to report, not even a degenerate
        one.
    """
    _check(level, draws)
    data = finite("values", values)
    sums, sizes = units(data, clusters)
    return _bca(sums, sizes, rounding(data, sizes), len(sums), level, draws, seed)


def difference_interval(
    values: FloatArray,
    second: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval | None:
    """The interval of the mean of one group of items minus that of the others.

    The difference is the mean of one number an item, its influence (Efron 1982, The Jackknife, the Bootstrap
    and Other Resampling Plans, chapter 6): N/n₁ · (x − mean₁) in the second group, −N/n₀ · (x − mean₀) in the
    first, plus the difference. Their BCa interval is the difference's to first order, and holds where a
    cluster has items of both groups. The tails are expanded for as many units as the smaller group has.

    Args:
        values: [items].
        second: [items] whether each belongs to the group that is subtracted from.
        clusters: [items] as for `bca_interval`.
        level: the coverage aimed at.

    Returns:
        The interval; None where a group has no more than one unit.
    """
    _check(level, draws)
    data, mask = finite("values", values), np.asarray(second, dtype=bool)
    if mask.shape != data.shape:
        raise ValueError(f"items don't match: {data.shape} and {mask.shape}")
    code = unit_codes(len(data), clusters)
    count = min(len(np.unique(code[mask])), len(np.unique(code[~mask])))
    if count < 2:
        return None
    sizes = np.asarray(np.bincount(code), np.float64)
    weights = np.where(mask, len(data) / mask.sum(), -len(data) / (~mask).sum())
    sums = np.asarray(np.bincount(code, weights=_influences(data, mask, weights)), np.float64)
    noise = rounding(data, sizes) * float(np.abs(weights).max())
    return _bca(sums, sizes, noise, count, level, draws, seed)


def _influences(data: FloatArray, second: NDArray[np.bool_], weights: FloatArray) -> FloatArray:
    """[items] whose mean is that of the second group minus that of the first."""
    first_mean, second_mean = data[~second].mean(), data[second].mean()
    influences: FloatArray = weights * (data - np.where(second, second_mean, first_mean))
    return influences + float(second_mean - first_mean)


def ratio_interval(
    values: FloatArray,
    reference: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval | None:
    """The interval of the mean of the values over the mean of a reference, paired by item.

    BCa as in `bca_interval`, of the ratio itself: each draw takes both numbers of the same items, so that what they
    have in common cancels (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 25; the jackknife's
    skewness gives the acceleration). Give it only where the reference's own interval leaves out 0: near 0 a ratio
    can be anything.

    Args:
        values: [items].
        reference: [items].
        clusters: [items] as for `bca_interval`.
        level: the coverage aimed at.

    Returns:
        The interval. None with a single item or cluster, and where the reference is so near 0 that an end of the
        interval would be among draws in which it has another sign, so that nothing bounds the ratio.

    Raises:
        ValueError: the reference's mean is 0, or the arrays are of different items.
    """
    _check(level, draws)
    over, under = finite("values", values), finite("reference", reference)
    if over.shape != under.shape:
        raise ValueError(f"items don't match: {over.shape} and {under.shape}")
    if not under.mean():
        raise ValueError("the mean of the reference is 0: there is no ratio")
    return _ratio_interval(over, under, clusters, level, draws, seed)


def _check(level: float, draws: int) -> None:
    check_share("level", level)
    check_draws(draws)


def _ratio_interval(
    over: FloatArray, under: FloatArray, clusters: Sequence[Hashable] | None, level: float, draws: int, seed: int
) -> Interval | None:
    sign = np.sign(under.mean())
    (tops, sizes), (bottoms, _) = units(sign * over, clusters), units(sign * under, clusters)
    if len(tops) < 2:
        return None
    ratio = float(tops.sum() / bottoms.sum())
    if (np.abs(tops - ratio * bottoms) <= rounding(over, sizes) + abs(ratio) * rounding(under, sizes)).all():
        return Interval(ratio, ratio)
    if (bottoms.sum() - bottoms <= 0).any():
        return None
    ratios, largest = _bootstrap_ratios(tops, bottoms, sizes, draws, seed)
    bias = _bias(ratios, ratio, tie=TIE * max(abs(ratio), largest))
    low, high = _ends(ratios, bias, _acceleration(tops, bottoms), expanded_tail(level, len(tops)))
    return Interval(low, high) if max(abs(low), abs(high)) < _FAR / draws else None


def _bootstrap_ratios(
    tops: FloatArray, bottoms: FloatArray, sizes: FloatArray, draws: int, seed: int
) -> tuple[FloatArray, float]:
    """[draws] ratios, and the largest of those whose denominator has the sign that it should have."""
    # The same seed draws the same units, for the ratio and for its denominator.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _bootstrap_means(tops, bottoms, draws, seed)
    crossed = _bootstrap_means(bottoms, sizes, draws, seed) <= 0
    largest = float(np.abs(ratios[~crossed]).max())
    # Past a denominator of 0 lies infinity: it counts as further out than any number on the side it came from.
    ratios[crossed] = np.copysign(_FAR, _bootstrap_means(tops, sizes, draws, seed)[crossed])
    return ratios, largest


def wilson(hits: int, count: int) -> Interval | None:
    """The 95% score interval of a share (Wilson 1927), which has a width also at 0 and 1; None of nothing."""
    if not count:
        return None
    z, share = NormalDist().inv_cdf(0.975), hits / count  # by hand: importing scipy.stats takes a second
    middle, half = hits + z**2 / 2, z * math.sqrt(hits * (1 - share) + z**2 / 4)
    low, high = (middle - half) / (count + z**2), (middle + half) / (count + z**2)
    return Interval(low if hits else 0.0, high if hits < count else 1.0)


def _bca(
    sums: FloatArray, sizes: FloatArray, noise: FloatArray, count: int, level: float, draws: int, seed: int
) -> Interval | None:
    """BCa of sum / size over units; `count` units set the tails, and `noise` is what rounding may add to a sum."""
    if len(sums) < 2:
        return None
    mean = float(sums.sum() / sizes.sum())
    if (np.abs(sums - mean * sizes) <= noise).all():
        return Interval(mean, mean)
    means = _bootstrap_means(sums, sizes, draws, seed)
    bias = _bias(means, mean, tie=TIE * float(np.abs(sums / sizes).max()))
    return _ends(means, bias, _acceleration(sums, sizes), expanded_tail(level, count))


def student_t(share: float, freedom: int) -> float:
    """The quantile of Student's t: the value below which this share of the distribution lies.

    Args:
        share: between 0 and 1.
        freedom: degrees of freedom, at least 1.
    """
    from scipy.special import stdtrit

    check_share("share", share)
    if freedom < 1:
        raise ValueError(f"freedom must be at least 1, not {freedom}")
    return float(stdtrit(freedom, share))


def expanded_tail(level: float, count: int) -> float:
    """How many standard errors of a resample's mean the tails of a two-sided interval lie out, with `count` units."""
    return math.sqrt(count / (count - 1)) * student_t((1 + level) / 2, count - 1)


def _bootstrap_means(sums: FloatArray, sizes: FloatArray, draws: int, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    count, single = len(sums), bool((sizes == 1).all())
    means = []
    for rows in blocks(draws, count):
        picks = random.integers(0, count, (rows, count))
        means.append(sums[picks].sum(axis=1) / (count if single else sizes[picks].sum(axis=1)))
    return np.concatenate(means)


def _bias(means: FloatArray, mean: float, *, tie: float) -> float:
    """BCa's z0: the normal quantile of the share of draws below the mean, ties counted by half."""
    below = float((means < mean - tie).mean() + (means <= mean + tie).mean()) / 2
    # All draws on one side would put z0 at infinity; half a draw on the other side is as much as they tell.
    half = 0.5 / len(means)
    return NormalDist().inv_cdf(min(max(below, half), 1 - half))


def _acceleration(sums: FloatArray, sizes: FloatArray) -> float:
    """BCa's a: a sixth of the skewness of the jackknife, one unit left out at a time."""
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    spread = left_out.mean() - left_out
    spread = spread / np.abs(spread).max()  # a ratio of powers: scaled, so that tiny values don't underflow
    return float((spread**3).sum() / (6 * (spread**2).sum() ** 1.5))


def _ends(draws: FloatArray, bias: float, acceleration: float, tail: float) -> Interval:
    """The quantiles of the draws that BCa takes for normal tails this many standard errors out."""
    normal = NormalDist()
    adjusted = []
    for out in (-tail, tail):
        shifted = bias + out
        scale = 1 - acceleration * shifted
        # Where the scale reaches 0 the formula has passed through infinity: its limit is the outermost draw.
        adjusted.append(normal.cdf(bias + shifted / scale) if scale > 0 else float(shifted > 0))
    low, high = np.quantile(draws, adjusted)
    return Interval(float(low), float(high))
