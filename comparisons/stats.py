"""Estimators for the table: intervals, p-values, their correction, and the split of content from letter.

Pure numpy and no model. Every estimator works on one number per item, usually a difference paired by item.
Where items share a template they are not independent: with `clusters` the unit that is resampled or flipped
is the cluster. Arrays that are empty, hold NaN or infinity, or don't match in length raise ValueError: no
number is made up for them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparisons.errors import unknown

if TYPE_CHECKING:
    from comparisons.intervention import Direction

FloatArray: TypeAlias = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)
_TIE = 1e-12  # relative: sums of the same numbers in another order differ by rounding and must count as equal
_BLOCK = 1 << 20  # numbers held at a time while drawing: 8 MiB an array
_EXACT_UNITS = 20  # 2**20 sums are held at once; above this, draw however many draws are allowed


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
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987).

    With clusters, whole clusters are drawn with replacement, the mean is the sum of their values over the
    number of their items, and the acceleration comes from leaving out one cluster at a time. Like every
    bootstrap it is too narrow for a handful of units: say how many there were beside it.

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
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    _check_draws(draws)
    data = _finite("values", values)
    sums, sizes = _units(data, clusters)
    if len(sums) < 2:
        return None
    mean = float(sums.sum() / sizes.sum())
    if (np.abs(sums - mean * sizes) <= _rounding(data, sizes)).all():
        return Interval(mean, mean)
    means = _bootstrap_means(sums, sizes, draws, seed)
    bias = _bias(means, mean, tie=_TIE * float(np.abs(data).max()))
    tails = _adjusted_tails(bias, _acceleration(sums, sizes), level)
    low, high = np.quantile(means, tails)
    return Interval(float(low), float(high))


def sign_flip_p(
    differences: FloatArray,
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = 100_000,
    seed: int = 0,
) -> float:
    """The two-sided p-value of a mean paired difference of zero, by flipping signs.

    Under the null each unit's difference is as likely with either sign. All sign patterns are enumerated
    where there are at most `draws` of them and at most 20 units; otherwise `draws` random ones, b of which
    reach the observed mean, give (b + 1) / (draws + 1), which is never 0 (Phipson & Smyth 2010).

    Args:
        differences: [items], paired by item. Zeros fit both signs and carry no evidence.
        clusters: [items] as for `bca_interval`; a cluster's differences flip together.
        draws: random sign patterns, and the most patterns to enumerate.
        seed: of the random patterns.

    Returns:
        A probability above 0; 1.0 where every unit's sum is zero.
    """
    _check_draws(draws)
    data = _finite("differences", differences)
    sums, sizes = _units(data, clusters)
    sums = sums[np.abs(sums) > _rounding(data, sizes)]
    if not len(sums):
        return 1.0
    reach = abs(float(sums.sum())) - _TIE * float(np.abs(sums).sum())
    if len(sums) <= _EXACT_UNITS and 2 ** len(sums) <= draws:
        return float((np.abs(_all_flips(sums)) >= reach).mean())
    hits = sum(int((np.abs(flipped) >= reach).sum()) for flipped in _random_flips(sums, draws, seed))
    return (hits + 1) / (draws + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979): p-values adjusted for a whole table, in the order given.

    None and NaN, the cells without a p-value, are not counted in the family and come back unchanged. Adjusted
    values keep the order of the raw ones, are at least as large, and at most 1.
    """
    family = [(p, index) for index, p in enumerate(p_values) if p is not None and not np.isnan(p)]
    adjusted = list(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(sorted(family)):
        if not 0 <= p <= 1:
            raise ValueError(f"p-value {index} is {p}, which is not a probability")
        largest = max(largest, min(1.0, p * (len(family) - rank)))
        adjusted[index] = largest
    return adjusted


def content_and_letter(
    logit_given: FloatArray, logit_swapped: FloatArray, matching_is_first: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Splits each item's logit of p_match into what follows the content and what follows the letter.

    With z the logit, content = (z_given + z_swapped) / 2, and letter = ±(z_given − z_swapped) / 2 with plus
    where the matching answer stands under the first letter in the given order. So a positive content
    prefers the matching answer, and a positive letter prefers the item's first-listed letter, whatever
    stands under it.

    Args:
        logit_given: [items] log(p_match / (1 − p_match)) with the choices as given.
        logit_swapped: [items] the same with the texts of the two choices exchanged. Items that were asked in
            one order only can't be split: leave them out.
        matching_is_first: [items] whether, as given, the matching letter is the first-listed of the two.

    Returns:
        content and letter, each [items], in logits.
    """
    given, swapped = _finite("logit_given", logit_given), _finite("logit_swapped", logit_swapped)
    first = np.asarray(matching_is_first, dtype=bool)
    if not given.shape == swapped.shape == first.shape:
        raise ValueError(f"items don't match: {given.shape}, {swapped.shape} and {first.shape}")
    return (given + swapped) / 2, np.where(first, 1.0, -1.0) * (given - swapped) / 2


def letter_bias(p_first: FloatArray) -> float:
    """How much the first letter is preferred: the mean of P(first) / (P(first) + P(second)), minus 0.5.

    Args:
        p_first: [items × orders] or any shape. Without both orders a bias and an unbalanced key look alike.
    """
    return float(_finite("p_first", np.ravel(p_first)).mean()) - 0.5


def anti_steerable(content_shift: FloatArray, direction: Direction) -> float:
    """The share of items whose content logit moved strictly against the direction asked for.

    After Tan et al. 2024 (Analyzing the Generalization and Reliability of Steering Vectors), who judge an
    item by its slope over strengths; this judges it at one strength. An item that did not move is not
    wrong.

    Args:
        content_shift: [items] content of the cell minus content of the baseline; see `content_and_letter`.
        direction: with `pos` a fall is the wrong way, with `neg` a rise.
    """
    if direction not in ("pos", "neg"):
        raise unknown("direction", str(direction), ("pos", "neg"))
    shift = _finite("content_shift", content_shift)
    wrong = shift < 0 if direction == "pos" else shift > 0
    return float(wrong.mean())


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")


def _finite(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be one number an item and not empty; its shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity at item {int(np.argmin(np.isfinite(array)))}")
    return array


def _units(values: FloatArray, clusters: Sequence[Hashable] | None) -> tuple[FloatArray, FloatArray]:
    """The sum and the number of items of each independent unit, in order of first appearance."""
    if clusters is None:
        return values, np.ones_like(values)
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} cluster labels for {len(values)} items")
    codes: dict[tuple[bool, Hashable], int] = {}
    keys = ((label is None, item if label is None else label) for item, label in enumerate(clusters))
    code = [codes.setdefault(key, len(codes)) for key in keys]
    sums = np.bincount(code, weights=values)
    return np.asarray(sums, np.float64), np.asarray(np.bincount(code), np.float64)


def _rounding(values: FloatArray, sizes: FloatArray) -> FloatArray:
    """The largest part of each unit's sum that can be rounding error."""
    return 8 * _EPSILON * float(np.abs(values).max()) * sizes


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Splits the draws so that a block of them, `width` numbers each, stays within memory."""
    rows = max(1, _BLOCK // width)
    for start in range(0, draws, rows):
        yield min(rows, draws - start)


def _bootstrap_means(sums: FloatArray, sizes: FloatArray, draws: int, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    count = len(sums)
    means = []
    for rows in _blocks(draws, count):
        picks = random.integers(0, count, (rows, count))
        means.append(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1))
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


def _adjusted_tails(bias: float, acceleration: float, level: float) -> list[float]:
    """The two quantiles of the draws that BCa takes instead of (1 − level) / 2 and (1 + level) / 2."""
    normal = NormalDist()
    tails = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + normal.inv_cdf(tail)
        scale = 1 - acceleration * shifted
        # Where the scale reaches 0 the formula has passed through infinity: its limit is the outermost draw.
        tails.append(normal.cdf(bias + shifted / scale) if scale > 0 else float(shifted > 0))
    return tails


def _all_flips(sums: FloatArray) -> FloatArray:
    """The total under each sign pattern, up to a common sign: the first unit keeps its own."""
    totals = sums[:1]
    for value in sums[1:]:
        totals = np.concatenate([totals + value, totals - value])
    return totals


def _random_flips(sums: FloatArray, draws: int, seed: int) -> Iterator[FloatArray]:
    """Totals under random sign patterns, in blocks; a random bit is a sign."""
    random = np.random.default_rng(seed)
    count = len(sums)
    for rows in _blocks(draws, count):
        packed = random.integers(0, 256, (rows, -(-count // 8)), dtype=np.uint8)
        flips = np.unpackbits(packed, axis=1, count=count)
        yield sums.sum() - 2 * (flips.astype(np.float64) @ sums)
