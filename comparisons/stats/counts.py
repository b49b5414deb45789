"""P-values by counting: flips of the preferred answer (McNemar), and a value's rank among random ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.units import TIE, check_share, finite


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
