"""Contrasts: the differences between cells, by item, with intervals and p-values that hold over all of them at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparisons.results.schema import Verdict
from comparisons.stats.intervals import Interval
from comparisons.stats.seeds import NO_ERROR, SeedSpread, SharedError, seed_error
from comparisons.stats.units import FloatArray, blocks, check_draws, check_share, rounding, table_of, unit_codes

FEWEST = 6
"""Independent units below which there is no interval: they tell too little of their own spread."""

CARRIED = 6
"""Units that must carry a difference, unless a fifth of all do: see `Contrast.carried`."""

STILL = 0.05
"""A difference of p_match below which an item hardly moved."""

_COLUMNS = 256  # whose statistics are held for all draws at once
_FLAT = 1e-12  # of the sum of squares: what is left of it by rounding where a resample's units are all alike


@dataclass(frozen=True)
class Contrast:
    """One cell minus another, over the items that both have.

    Attributes:
        first, second: the cells' rows in the table; the second is subtracted.
        count: items in common.
        units: independent ones: items, or clusters.
        difference: the mean difference; None without common items.
        error: its standard error over items; None with a single unit.
        interval: 95%, of this contrast alone; None below `FEWEST` units and where nothing bounds it.
        near: the 90% interval, of two one-sided tests at .05.
        simultaneous: 95%, over all contrasts of the family.
        p_adjusted: of a difference of 0, over the family.
        carried: how many units carry the spread, (Σ r²)² / Σ r⁴ of their residuals r: all of them where they are alike,
            2 where two differ and the others don't. Below `CARRIED`, and a fifth of the units, a contrast is sparse.
        skewness: of the units' residuals, the third moment over the second's power of 1.5.
        still: the share of items that differ by less than `STILL`.
        seeds: what the seeds of the cells' fits add to the error.
    """

    first: int
    second: int
    count: int
    units: int
    difference: float | None = None
    error: float | None = None
    interval: Interval | None = None
    near: Interval | None = None
    simultaneous: Interval | None = None
    p_adjusted: float | None = None
    carried: float = 0.0
    skewness: float = 0.0
    still: float = 0.0
    seeds: SharedError = NO_ERROR

    @property
    def full_error(self) -> float | None:
        """The standard error over items and seeds."""
        return None if self.error is None else math.hypot(self.error, self.seeds.deviation)

    @property
    def sparse(self) -> bool:
        """Whether few units carry the spread, so that some resamples have hardly any."""
        return 0 < self.carried < min(CARRIED, self.units / 5)

    def verdict(self, margin: float) -> Verdict:
        """Better or worse by the simultaneous interval, equivalent where the 90% interval lies within ± the margin.

        Two one-sided tests at .05 (Schuirmann 1987, A Comparison of the Two One-Sided Tests Procedure). What differs,
        but by less than the margin, is equivalent.
        """
        if self.near is None or self.simultaneous is None:
            return "undecided"
        if -margin < self.near.low and self.near.high < margin:
            return "equivalent"
        if self.simultaneous.low > 0:
            return "better"
        return "worse" if self.simultaneous.high < 0 else "undecided"

    def items_needed(self, margin: float, family: int, power: float = 0.8) -> int | None:
        """How many items of this kind would tell the cells apart, or show them equivalent, whichever takes fewer.

        (z(1 − .05 / (2 · family)) + z(power))² · v / d² and, below the margin, (z(.95) + z(power))² · v /
        (margin − |d|)², with v the variance that an item adds; clusters grow in number with the items. None where
        nothing varies.
        """
        check_share("power", power)
        if not self.error or self.difference is None:
            return None
        z, size = NormalDist().inv_cdf, abs(self.difference)
        apart = _left(size, self.seeds.half(0.05 / family)) / (z(1 - 0.025 / family) + z(power))
        alike = _left(margin - size, self.seeds.half(0.1)) / (z(0.95) + z(power))
        best = max(apart, alike)
        return math.ceil(self.count * (self.error / best) ** 2) if best else None


def contrasts(
    cells: ArrayLike,
    pairs: Sequence[tuple[int, int]] | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    shared: float = 0.0,
    seeds: Sequence[SeedSpread | None] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> list[Contrast]:
    """The differences of pairs of cells on the same items, as one family.

    A studentized bootstrap of whole clusters (Cameron, Gelbach & Miller 2008, Bootstrap-Based Improvements for
    Inference with Clustered Errors, section III): each draw resamples the units for all pairs at once and gives each
    pair t* = (d* − d) / s*, with s the ratio estimator's standard error, √(m/(m − 1) · Σ (sum − d · size)²) / N over m
    units. An interval is d ± c · s, with c the 95% quantile of |t*| for a pair alone, and that of max |t*| over the
    pairs for all of them at once; the adjusted p-value is the share of draws whose max |t*| reaches |d| / s
    (single-step max-T, Westfall & Young 1993, Resampling-Based Multiple Testing, chapter 2): at most .05 exactly where
    the simultaneous interval leaves out 0. A simultaneous interval holds the pair's own.

    Where a few units carry a pair's spread, some resamples lack them all, and t* is huge. One such pair would widen the
    intervals of all others, so the maximum for pairs that aren't sparse is over these, and for sparse ones over all.

    Where the fits of cells have seeds, an interval's half is √((c · s)² + (t · e)²), with e the error that seeds add
    (`seed_error`) and t the quantile, at its degrees of freedom, of the level that c has for a pair by Student's t with
    m − 1.

    Args:
        cells: [cells, items] the measure; NaN where a cell lacks an item, which then counts in none of its pairs.
        pairs: of rows; all pairs, each once, by default.
        clusters: [items] as for `bca_interval`.
        shared: the standard deviation of an error that all items of a difference share, of which their spread shows
            nothing: √(s² + shared²) stands for s in intervals and p-values.
        seeds: of each cell, whose numbers are then its fits' averages; None for one without, or with a single fit.
        seed: the same seed and values give the same numbers.

    Returns:
        One a pair, in the order given. Where the units don't differ the intervals have no width.
    """
    check_draws(draws)
    table = table_of(cells)
    wanted = list(combinations(range(len(table)), 2) if pairs is None else pairs)
    code = unit_codes(table.shape[1], clusters)
    if not wanted:
        return []
    found = [_Sums.of(table, wanted[at : at + _COLUMNS], code) for at in range(0, len(wanted), _COLUMNS)]
    largest, own = {sparse: np.zeros(draws) for sparse in (False, True)}, []
    for sums in found:
        t = _bootstrap(sums, draws, seed)
        for sparse, so_far in largest.items():
            counts = [each.units >= FEWEST and each.sparse <= sparse for each in sums.plain]
            np.maximum(so_far, t[:, counts].max(axis=1, initial=0.0), out=so_far)
        own.append(np.stack([_critical(t, 0.95), _critical(t, 0.90)], axis=1))
    every = [each for sums in found for each in sums.plain]
    reach = {sparse: np.sort(values) for sparse, values in largest.items()}
    if seeds is not None:
        every = [replace(each, seeds=seed_error([seeds[each.first], seeds[each.second]])) for each in every]
    return [
        _judged(each, mine, reach[each.sparse], shared) for each, mine in zip(every, np.concatenate(own), strict=True)
    ]


@dataclass(frozen=True)
class _Sums:
    """Pairs' units, scaled so that nothing underflows.

    Attributes:
        residuals: [units, pairs] sums minus the mean difference times the sizes, over their root of squares.
        sizes: [units, pairs] items.
        plain: the contrasts without intervals.
    """

    residuals: FloatArray
    sizes: FloatArray
    plain: list[Contrast]

    @classmethod
    def of(cls, table: FloatArray, pairs: Sequence[tuple[int, int]], code: NDArray[np.intp]) -> _Sums:
        places = np.array(pairs, dtype=np.intp)
        values = table[places[:, 0]] - table[places[:, 1]]
        present = ~np.isnan(values)
        values = np.where(present, values, 0.0)
        sums, sizes = (_by_unit(array, code) for array in (values, present.astype(np.float64)))
        totals = sizes.sum(axis=0)
        means = sums.sum(axis=0) / np.maximum(totals, 1)
        noise = rounding(np.nan_to_num(table), np.maximum(sizes, 1))
        means[np.abs(means) * totals <= noise.sum(axis=0)] = 0.0
        residuals = sums - means * sizes
        residuals[:, (np.abs(residuals) <= noise).all(axis=0)] = 0.0
        squares = (residuals**2).sum(axis=0)
        root = np.sqrt(squares)
        units = (sizes > 0).sum(axis=0)
        errors = np.sqrt(units / np.maximum(units - 1, 1)) * root / np.maximum(totals, 1)
        residuals = residuals / np.where(root > 0, root, 1.0)
        carried = (root > 0) / np.maximum((residuals**4).sum(axis=0), np.finfo(np.float64).tiny)
        skewness = np.sqrt(units) * (residuals**3).sum(axis=0)
        still = ((np.abs(values) < STILL) & present).sum(axis=1) / np.maximum(totals, 1)
        plain = [
            Contrast(
                *pair,
                count=int(totals[i]),
                units=int(units[i]),
                difference=float(means[i]) if totals[i] else None,
                error=float(errors[i]) if units[i] > 1 else None,
                carried=float(carried[i]),
                skewness=float(skewness[i]),
                still=float(still[i]),
            )
            for i, pair in enumerate(pairs)
        ]
        return cls(residuals, sizes, plain)


def _by_unit(values: FloatArray, code: NDArray[np.intp]) -> FloatArray:
    """[units, pairs] sums of [pairs, items]."""
    sums = np.zeros((code.max() + 1, len(values)))
    np.add.at(sums, code, values.T)
    return sums


def _bootstrap(sums: _Sums, draws: int, seed: int) -> FloatArray:
    """[draws, pairs] |t*|; infinite where a resample's units are alike and its mean is not the sample's."""
    residuals, sizes = sums.residuals, sums.sizes
    parts = (residuals, residuals**2, residuals * sizes, sizes, sizes**2)
    units = np.array([each.units for each in sums.plain], dtype=np.float64)
    inflation = np.sqrt(units / np.maximum(units - 1, 1))
    t, at = np.empty((draws, len(units))), 0
    for weights in _resamples(len(sizes), draws, len(units), seed):
        total, square, cross, size, size_square = (weights @ part for part in parts)
        shift = total / np.maximum(size, 1)
        spread = square - 2 * shift * cross + shift**2 * size_square
        error = inflation * np.sqrt(np.where(spread > _FLAT, spread, 0.0))
        moved = np.abs(total)
        with np.errstate(divide="ignore", invalid="ignore"):
            t[at : at + len(weights)] = np.where(moved > math.sqrt(_FLAT), moved / error, 0.0)
        at += len(weights)
    return t


def _resamples(units: int, draws: int, pairs: int, seed: int) -> Iterator[FloatArray]:
    """How often each unit is drawn, in blocks [rows, units]."""
    random = np.random.default_rng(seed)
    for rows in blocks(draws, max(units, pairs)):
        picks = random.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def _critical(statistics: FloatArray, level: float) -> FloatArray:
    """Of each column the value that a share of 1 − level reaches: what is larger has a p-value of at most that."""
    place = len(statistics) - max(1, int((1 - level) * (len(statistics) + 1) + 1e-9))
    critical: FloatArray = np.partition(statistics, place, axis=0)[place]
    return critical


def _judged(plain: Contrast, own: FloatArray, reach: FloatArray, shared: float) -> Contrast:
    """The contrast with its intervals.

    Args:
        plain: without.
        own: its critical values at 95% and 90%.
        reach: [draws] the largest statistics of the family, sorted.
        shared: the items' shared error.
    """
    if plain.difference is None or plain.error is None or plain.units < FEWEST:
        return plain
    error, size = math.hypot(plain.error, shared), abs(plain.difference)
    # Items that don't differ have statistics of 0; an error that they share is normal.
    normal = [NormalDist().inv_cdf(level) if shared else 0.0 for level in (0.975, 0.95)]
    values = (*map(max, own, normal), max(float(_critical(reach, 0.95)), normal[0]))
    levels = (0.05, 0.1, min(0.05, _level(values[2], plain.units)))
    halves = [_half(error, float(c), plain.seeds.half(level)) for c, level in zip(values, levels, strict=True)]
    interval, near, simultaneous = (
        Interval(plain.difference - half, plain.difference + half) if math.isfinite(half) else None for half in halves
    )
    hits = len(reach) - int(np.searchsorted(reach, _statistic(plain, size, error)))
    p_value = (hits + 1) / (len(reach) + 1)
    return replace(plain, interval=interval, near=near, simultaneous=simultaneous, p_adjusted=p_value)


def _level(critical: float, units: int) -> float:
    """The p-value of a statistic of so many units, by Student's t."""
    from scipy.special import stdtr

    return 2 * float(stdtr(units - 1, -critical))


def _half(error: float, critical: float, seeds: float) -> float:
    """Half of an interval; 0 where nothing differs."""
    return math.hypot(critical * error if error else 0.0, seeds)


def _statistic(plain: Contrast, size: float, error: float) -> float:
    """The critical value at which the interval just reaches 0."""
    if not plain.seeds.deviation or not size:
        return size / error if error else math.inf if size else 0.0

    from scipy.optimize import brentq

    def short(critical: float) -> float:
        level = min(0.05, _level(critical, plain.units))
        return _half(error, critical, plain.seeds.half(level)) - size

    most = 1.0
    while short(most) < 0 and most < 1e6:
        most *= 2
    return float(brentq(short, 0.0, most)) if short(0.0) < 0 < short(most) else 0.0 if short(0.0) >= 0 else most


def _left(size: float, seeds: float) -> float:
    """Half of an interval that is left for the items; vanishing where the seeds take all of it."""
    return math.sqrt(max(0.0, size**2 - seeds**2)) if size > 0 else 0.0
