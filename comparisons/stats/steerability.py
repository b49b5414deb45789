"""Steerability: how each item's content logit follows the strength."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.intervals import Interval, bca_interval
from comparisons.stats.units import FloatArray, finite

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
        draws: of the interval.
        seed: of the draws.

    Raises:
        ValueError: shapes that don't match, NaN or infinity, or fewer than two different strengths.
    """
    logits, doses = _checked(content, strengths)
    found = slopes(logits, doses)
    own = [rho for row in logits if (rho := spearman(doses, row)) is not None]
    return Steerability(
        slopes=found,
        mean=float(found.mean()),
        interval=bca_interval(found, clusters=clusters, draws=draws, seed=seed),
        quantiles=tuple(float(q) for q in np.quantile(found, QUANTILES)),
        spearman=spearman(doses, logits.mean(axis=0)),
        item_spearman=float(np.mean(own)) if own else None,
        anti_steerable=float((found < 0).mean()),
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
    found: FloatArray = np.where(np.abs(products) > noise, products, 0.0) / (centred @ centred)
    return found


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation (1904): Pearson's correlation of the ranks, ties sharing their mean rank.

    Returns:
        Between −1 and 1; None where either is constant.
    """
    one, two = finite("first", first), finite("second", second)
    if one.shape != two.shape:
        raise ValueError(f"lengths don't match: {len(one)} and {len(two)}")
    ranks = np.stack([_ranks(one), _ranks(two)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    squares = (ranks**2).sum(axis=1)
    if not squares.all():
        return None
    return float(np.clip(ranks[0] @ ranks[1] / np.sqrt(squares[0] * squares[1]), -1, 1))


def _ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


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
