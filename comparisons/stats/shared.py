"""An error that all items of a mean share, of which their spread shows nothing, in intervals, bounds and p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from comparisons.stats.intervals import Interval
from comparisons.stats.units import check_share

_LEAST = 1e-12  # the smallest p-value that is told from 0


@dataclass(frozen=True)
class SharedError:
    """An error of a mean or a difference that all its items share, so that their spread shows nothing of it.

    What the seeds of fits add (`seed_error`), or the model's rounding. It is independent of the items, with mean 0.

    Attributes:
        deviation: its standard deviation, in the unit of the mean; at 0 nothing changes.
        freedom: the degrees of freedom behind it; infinite where the deviation is known.
    """

    deviation: float = 0.0
    freedom: float = math.inf

    def half(self, p_value: float) -> float:
        """Half of a two-sided interval of level 1 − p of this error alone."""
        from scipy.special import stdtrit

        return -float(stdtrit(self.freedom, p_value / 2)) * self.deviation if self.deviation else 0.0

    def widened(self, interval: Interval, mean: float, level: float = 0.95) -> Interval:
        """An interval of a mean over items, with this error.

        The halves add as squares (Graybill & Wang 1980, Confidence Intervals on Nonnegative Linear Combinations of
        Variances), each with its own quantile. A single t quantile of V by Satterthwaite holds less than it says with
        few seeds that differ much: .88 of intervals in place of .95 with two, in the simulation of validity.md.
        """
        check_share("level", level)
        half = self.half(1 - level)
        if not half:
            return interval
        return Interval(mean - math.hypot(mean - interval.low, half), mean + math.hypot(interval.high - mean, half))

    def bound(self, mean: float, upper: float | None, level: float = 0.95) -> float | None:
        """A one-sided upper bound of a mean over items, with this error; None where there is none."""
        half = self.half(2 * (1 - level))
        return upper if upper is None or not half else mean + math.hypot(upper - mean, half)

    def p_value(self, value: float, p_value: float) -> float:
        """A two-sided p-value of a mean over items, with this error: 1 − the level that `widened` leaves out.

        Args:
            value: the mean.
            p_value: of its being 0, over items; taken as that of a normal mean.
        """
        if not self.deviation or p_value >= 1:
            return p_value
        from scipy.optimize import brentq
        from scipy.special import ndtri

        error = abs(value) / -float(ndtri(max(p_value, _LEAST) / 2))

        def short(p: float) -> float:
            return math.hypot(float(ndtri(p / 2)) * error, self.half(p)) - abs(value)

        return max(p_value, float(brentq(short, _LEAST / 2, 1.0, xtol=_LEAST)) if short(_LEAST / 2) > 0 else 0.0)


NO_ERROR = SharedError()
"""Where items share none."""
