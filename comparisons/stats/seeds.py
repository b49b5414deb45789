"""Errors that all items of a mean share, of which their spread shows nothing; what the seeds of fits add is one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.intervals import Interval
from comparisons.stats.units import check_share, table_of, unit_codes

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


@dataclass(frozen=True)
class SeedSpread:
    """Two-way random effects of seeds and questions on the mean of a cell: its variance has three parts.

    V = (MS_seed + MS_q − MS_e) / (S · n), of the mean squares of S seeds × n questions and their rest: the questions'
    part, MS_q / (S · n), is the squared standard error of the seeds' average by item, which every other estimator here
    knows. This is the rest, what seeds add. In clusters of questions each mean square is the clusters', by the ratio
    estimator.

    Attributes:
        seeds: S, at least 2.
        between: MS_seed / (S · n), the variance of the seeds' means over their number.
        rest: MS_e / (S · n), how much of it questions that answer each fit in their own way make.
    """

    seeds: int
    between: float
    rest: float

    @property
    def added(self) -> float:
        """The variance that seeds add to that of the questions; never below 0."""
        return max(0.0, self.between - self.rest)

    @property
    def deviation(self) -> float:
        """The standard deviation of a single fit's true mean."""
        return math.sqrt(self.seeds * self.added)


def seed_spread(fits: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> SeedSpread | None:
    """What seeds add to the variance of a mean.

    Args:
        fits: [seeds, items] the measure of each fit; NaN where one lacks an item, which then counts in none.
        clusters: [items] as for `bca_interval`.

    Returns:
        None of a single fit, and with fewer than two units in common: nothing is known of the seeds' part.
    """
    table = table_of(fits)
    code = unit_codes(table.shape[1], clusters)
    common = ~np.isnan(table).any(axis=0)
    table, code = table[:, common], code[common]
    seeds, units = len(table), len(np.unique(code))
    if seeds < 2 or units < 2:
        return None
    means = table.mean(axis=1)
    residuals = table - table.mean(axis=0) - (means - means.mean())[:, None]
    sums = np.zeros((seeds, int(code.max()) + 1))
    np.add.at(sums.T, code, residuals.T)
    squares = float((sums**2).sum()) * units / (units - 1) / (seeds - 1) / table.shape[1] ** 2
    return SeedSpread(seeds, float(means.var(ddof=1)) / seeds, squares / seeds)


def seed_error(spreads: Sequence[SeedSpread | None]) -> SharedError:
    """What the seeds of one or two cells, which are independent, add to the error of a mean or a difference.

    Its degrees of freedom are (Σ MS)² / Σ (MS² / (S − 1)) (Satterthwaite 1946, An Approximate Distribution of Estimates
    of Variance Components).

    Args:
        spreads: of the cells; None for one without randomness, or whose seeds nobody knows.
    """
    known = [each for each in spreads if each is not None]
    between = sum(each.between for each in known)
    if not between:
        return NO_ERROR
    freedom = between**2 / sum(each.between**2 / (each.seeds - 1) for each in known)
    return SharedError(math.sqrt(sum(each.added for each in known)), freedom)
