"""Quantiles of Student's t, which numpy and the standard library lack."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from comparisons.stats.units import check_share

_MANY = 10_000


@lru_cache(maxsize=1024)
def student_t(share: float, freedom: int) -> float:
    """The quantile of Student's t: the value below which this share of the distribution lies.

    The distribution function is the finite trigonometric series in atan(t / √freedom) for whole degrees of
    freedom (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4), inverted by bisection. Above 10,000 degrees it is
    the first three terms of 26.7.5, whose error is below 1e-10 there.

    Args:
        share: between 0 and 1.
        freedom: degrees of freedom, at least 1.
    """
    check_share("share", share)
    if freedom < 1:
        raise ValueError(f"freedom must be at least 1, not {freedom}")
    if share == 0.5:
        return 0.0
    if freedom > _MANY:
        z = NormalDist().inv_cdf(share)
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    tail = min(share, 1 - share)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, freedom) < 1 - 2 * tail:
            low = middle
        else:
            high = middle
    return math.copysign(math.sqrt(freedom) * math.tan(low), share - 0.5)


def _within(angle: float, freedom: int) -> float:
    """P(|T| < t) with t = √freedom · tan(angle)."""
    odd = freedom % 2
    steps = np.arange(1, (freedom - odd) // 2)
    ratios = (2 * steps / (2 * steps + 1)) if odd else ((2 * steps - 1) / (2 * steps))
    terms = np.cumprod(np.concatenate([[1.0], ratios * math.cos(angle) ** 2]))
    if not odd:
        return math.sin(angle) * float(terms.sum())
    series = math.cos(angle) * float(terms.sum()) if freedom > 1 else 0.0
    return 2 / math.pi * (angle + math.sin(angle) * series)
