"""Flips of the preferred answer: McNemar's test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


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
    # Whole numbers: 2**throws overflows a float from some thousand on, their ratio doesn't. Each term from the one
    # before: to count the ways anew takes minutes at a hundred thousand.
    ways, term, least = 0, 1, min(heads, throws - heads)
    for k in range(least):
        ways, term = ways + term, term * (throws - k) // (k + 1)
    return min(1.0, float((2 * (ways + term) - term * mid_p) / 2**throws))
