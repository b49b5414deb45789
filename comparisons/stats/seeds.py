"""Seeds of fits: what fitting the same method again adds to the error of its mean, beside the choice of questions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.shared import NO_ERROR, SharedError
from comparisons.stats.units import table_of, unit_codes


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
