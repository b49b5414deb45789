"""A vector among random ones: its rank is its p-value."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.units import TIE, check_share, finite


class Rank(NamedTuple):
    """Where a value stands among random ones by size.

    Attributes:
        reached: how many random ones are at least as large.
        randoms: how many random ones there are.
        p_value: (1 + reached) / (1 + randoms).
    """

    reached: int
    randoms: int
    p_value: float


def rank_among(observed: float, random: ArrayLike) -> Rank:
    """The two-sided Monte Carlo p-value of a value among random ones: (1 + #{|random| >= |observed|}) / (1 + n).

    Under the null the observed one is as good as one more random draw, so each rank is as likely and the p-value
    is exact for any n (Barnard 1963; Phipson & Smyth 2010). It is never below 1 / (1 + n): see `randoms_needed`.

    Args:
        observed: the shift of the vector that is judged.
        random: [n] shifts of random vectors of its norm, at its layer and strength, on the same items.
    """
    values = np.abs(finite("random", random))
    size = abs(float(finite("observed", [observed])[0]))
    reached = int((values >= size * (1 - TIE)).sum())
    return Rank(reached, len(values), (1 + reached) / (1 + len(values)))


def randoms_needed(level: float, *, cells: int = 1) -> int:
    """The fewest random vectors with which a rank can reach a level: ⌈cells / level⌉ − 1.

    At .05 that is 19, which leaves no room for one random vector that is larger by chance; the 199 that are the
    default resolve .005, enough for Holm over ten cells.

    Args:
        level: the p-value that must be within reach, between 0 and 1.
        cells: the size of the table that the p-value is corrected for.
    """
    check_share("level", level)
    if cells < 1:
        raise ValueError(f"cells must be at least 1, not {cells}")
    return math.ceil(cells / level * (1 - TIE)) - 1
