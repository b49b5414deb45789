"""What several checks of judges need of scipy: an interval of a share, rank correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from comparisons.stats.intervals import Interval


def wilson(right: int, count: int) -> Interval | None:
    """The 95% score interval of a share (Wilson 1927), which has a width also at 0 and 1; None of nothing."""
    from scipy.stats import binomtest

    if not count:
        return None
    found = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(found.low), float(found.high))


def rank_correlation(
    kind: Literal["spearman", "kendall"], one: Sequence[float], other: Sequence[float]
) -> float | None:
    """Spearman's rho or Kendall's tau-b; None with fewer than two pairs, or where one side never varies."""
    from scipy.stats import kendalltau, spearmanr

    if len(one) < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    value = float((spearmanr if kind == "spearman" else kendalltau)(one, other).statistic)
    return value if math.isfinite(value) else None
