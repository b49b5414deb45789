"""What follows an answer's content: content and letter apart, and how content follows the strength, item by item."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.intervals import Interval, bca_interval
from comparisons.stats.units import FloatArray, finite
from comparisons.util.errors import unknown

if TYPE_CHECKING:
    from comparisons.util.directions import Direction

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Steerability:
    """How content follows strength, item by item.

    Attributes:
        slopes: [items] logits a unit of strength.
        mean: their mean.
        interval: its BCa interval; None with one item or cluster.
        quantiles: [5] of the slopes at .05, .25, .5, .75 and .95. Wide and centred near zero means that the mean
            hides items that move in opposite ways.
        spearman: rank correlation of the mean content with strength: 1 where more strength always moves more,
            less where it saturates and turns back. None where the mean doesn't move.
        item_spearman: the mean over items of the item's own rank correlation, of those that move; None where
            none does.
        anti_steerable: the share of items with a negative slope.
    """

    slopes: FloatArray
    mean: float
    interval: Interval | None
    quantiles: tuple[float, ...]
    spearman: float | None
    item_spearman: float | None
    anti_steerable: float


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
    given, swapped = finite("logit_given", logit_given), finite("logit_swapped", logit_swapped)
    first = np.asarray(matching_is_first, dtype=bool)
    if not given.shape == swapped.shape == first.shape:
        raise ValueError(f"items don't match: {given.shape}, {swapped.shape} and {first.shape}")
    return (given + swapped) / 2, np.where(first, 1.0, -1.0) * (given - swapped) / 2


def letter_bias(p_first: FloatArray) -> float:
    """How much the first letter is preferred: the mean of P(first) / (P(first) + P(second)), minus 0.5.

    Args:
        p_first: [items × orders] or any shape. Without both orders a bias and an unbalanced key look alike.
    """
    return float(finite("p_first", np.ravel(p_first)).mean()) - 0.5


def anti_steerable(content_shift: FloatArray, direction: Direction) -> float:
    """The share of items whose content logit moved strictly against the direction asked for.

    After Tan et al. 2024 (Analyzing the Generalization and Reliability of Steering Vectors), who judge an
    item by its slope over strengths, as `steerability` does; this judges it at one strength. An item that did
    not move is not wrong.

    Args:
        content_shift: [items] content of the cell minus content of the baseline; see `content_and_letter`.
        direction: with `pos` a fall is the wrong way, with `neg` a rise.
    """
    if direction not in ("pos", "neg"):
        raise unknown("direction", str(direction), ("pos", "neg"))
    shift = finite("content_shift", content_shift)
    wrong = shift < 0 if direction == "pos" else shift > 0
    return float(wrong.mean())


def steerability(
    content: ArrayLike,
    strengths: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Steerability:
    """The slope of every item's content logit over signed strengths, and its distribution.

    After Tan et al. 2024, Analyzing the Generalization and Reliability of Steering Vectors: a behavior is
    steerable as far as the slope's mean is positive, and reliably so as far as items agree. There
    the measured quantity is the logit difference in one order of the choices; here it is the content logit, so
    that a pull toward a letter is not taken for steering.

    Args:
        content: [items, strengths] content logits; see `content_and_letter`. Include the baseline at strength 0.
        strengths: [strengths] signed: positive toward the behavior (`pos`), negative away from it (`neg`).
        clusters: [items] as for `bca_interval`.

    Raises:
        ValueError: shapes that don't match, NaN or infinity, or fewer than two different strengths.
    """
    logits, doses = _checked(content, strengths)
    each = slopes(logits, doses)
    correlations = [rho for row in logits if (rho := spearman(doses, row)) is not None]
    return Steerability(
        slopes=each,
        mean=float(each.mean()),
        interval=bca_interval(each, clusters=clusters, draws=draws, seed=seed),
        quantiles=tuple(float(q) for q in np.quantile(each, QUANTILES)),
        spearman=spearman(doses, logits.mean(axis=0)),
        item_spearman=float(np.mean(correlations)) if correlations else None,
        anti_steerable=float((each < 0).mean()),
    )


def slopes(content: ArrayLike, strengths: ArrayLike) -> FloatArray:
    """The least-squares slope of each item over the strengths: Σ (s − s̄)(z − z̄) / Σ (s − s̄)².

    Args:
        content: [items, strengths] logits.
        strengths: [strengths] signed, at least two of them different.

    Returns:
        [items] logits a unit of strength; exactly 0 where an item doesn't move but for rounding.
    """
    logits, doses = _checked(content, strengths)
    centred = doses - doses.mean()
    products = (logits - logits.mean(axis=1, keepdims=True)) @ centred
    noise = 8 * np.finfo(np.float64).eps * np.abs(logits).max(axis=1) * np.abs(centred).sum()
    each: FloatArray = np.where(np.abs(products) > noise, products, 0.0) / (centred @ centred)
    return each


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation (1904): Pearson's correlation of the ranks, ties sharing their mean rank.

    Returns:
        Between −1 and 1; None where either is constant.
    """
    one, two = finite("first", first), finite("second", second)
    if one.shape != two.shape:
        raise ValueError(f"lengths don't match: {len(one)} and {len(two)}")
    return rank_correlation("spearman", one, two)


def rank_correlation(kind: Literal["spearman", "kendall"], first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rho or Kendall's tau-b; None with fewer than two pairs, or where one side never varies."""
    from scipy.stats import kendalltau, spearmanr

    if min(len(np.unique(first)), len(np.unique(second))) < 2:
        return None
    value = float((spearmanr if kind == "spearman" else kendalltau)(first, second).statistic)
    return value if math.isfinite(value) else None


def _checked(content: ArrayLike, strengths: ArrayLike) -> tuple[FloatArray, FloatArray]:
    logits, doses = np.asarray(content, dtype=np.float64), finite("strengths", strengths)
    if logits.ndim != 2 or not logits.size or logits.shape[1] != len(doses):
        raise ValueError(f"content must be [items, {len(doses)} strengths]; its shape is {logits.shape}")
    if not np.isfinite(logits).all():
        item, place = np.argwhere(~np.isfinite(logits))[0]
        raise ValueError(f"content holds NaN or infinity at item {item}, strength {doses[place]}")
    if len(np.unique(doses)) < 2:
        raise ValueError("a slope needs at least two different strengths")
    return logits, doses
