"""Behaviors pooled: the mean of effects that differ from behavior to behavior, and what another behavior's may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comparisons.stats.intervals import Interval
from comparisons.stats.units import FloatArray, finite

LEAST = 3
"""Behaviors below which nothing is pooled: of two, t has one degree of freedom, and τ is a guess."""


@dataclass(frozen=True)
class Pooled:
    """A random-effects mean.

    Attributes:
        count: how many effects.
        mean: the weighted mean.
        interval: 95%, of the mean over behaviors of this kind.
        tau: the standard deviation of true effects between behaviors.
        prediction: 95%, where the true effect in another behavior of this kind lies.
    """

    count: int
    mean: float
    interval: Interval
    tau: float
    prediction: Interval


def pooled(effects: Sequence[float], errors: Sequence[float], level: float = 0.95) -> Pooled | None:
    """The random-effects mean of effects with known standard errors.

    τ² solves Σ w_i (y_i − m)² = k − 1 with w_i = 1/(s_i² + τ²) (Paule & Mandel 1982, Consensus Values and Weighting
    Factors). The interval is m ± t(k − 1) · √(Σ w_i (y_i − m)² / (k − 1) / Σ w_i) (Hartung & Knapp 2001, A Refined
    Method for the Meta-analysis of Controlled Clinical Trials with Binary Outcome), whose root is never taken below
    that of 1 / Σ w_i, since effects may lie closer than their errors allow. The prediction interval is m ± t(k − 2) ·
    √(τ² + that square) (Higgins, Thompson & Spiegelhalter 2009, A Re-evaluation of Random-effects Meta-analysis).

    Args:
        effects: one a behavior.
        errors: their standard errors, above 0.
        level: of both intervals.

    Returns:
        None of fewer than `LEAST` effects.
    """
    if len(effects) < LEAST:
        return None
    y, s = finite("effects", effects), finite("errors", errors)
    if len(y) != len(s) or (s <= 0).any():
        raise ValueError("errors must be above 0, one an effect")
    from scipy.special import stdtrit

    tau2, count = _between(y, s**2), len(y)
    weights = 1 / (s**2 + tau2)
    mean = float(weights @ y / weights.sum())
    spread = max(1.0, float(weights @ (y - mean) ** 2) / (count - 1)) / float(weights.sum())
    half, wide = (float(stdtrit(df, (1 + level) / 2)) for df in (count - 1, count - 2))
    half, wide = half * math.sqrt(spread), wide * math.sqrt(spread + tau2)
    return Pooled(count, mean, Interval(mean - half, mean + half), math.sqrt(tau2), Interval(mean - wide, mean + wide))


def _between(y: FloatArray, variances: FloatArray) -> float:
    """τ², at least 0."""
    from scipy.optimize import brentq

    def beyond(tau2: float) -> float:
        weights = 1 / (variances + tau2)
        return float(weights @ (y - weights @ y / weights.sum()) ** 2) - (len(y) - 1)

    most = float(np.var(y, ddof=1)) * len(y) + float(variances.max())
    return float(brentq(beyond, 0.0, most, xtol=1e-15)) if beyond(0.0) > 0 else 0.0
