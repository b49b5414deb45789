"""P-values of mean paired differences by flipping signs, and their corrections for a whole table: Holm and max-T."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparisons.stats.units import TIE, FloatArray, blocks, check_draws, finite, rounding, table_of, unit_codes, units

_EXACT_UNITS = 20  # 2**20 sums are held at once; above this, draw however many draws are allowed
_EXACT_TABLE_UNITS = 16  # of max_t, whose patterns hold all cells


def sign_flip_p(
    differences: FloatArray, *, clusters: Sequence[Hashable] | None = None, draws: int = 100_000, seed: int = 0
) -> float:
    """The two-sided p-value of a mean paired difference of zero, by flipping signs.

    Under the null each unit's difference is as likely with either sign. All sign patterns are enumerated
    where there are at most `draws` of them and at most 20 units; otherwise `draws` random ones, b of which
    reach the observed mean, give (b + 1) / (draws + 1), which is never 0 (Phipson & Smyth 2010).

    Args:
        differences: [items], paired by item. Zeros fit both signs and carry no evidence.
        clusters: [items] as for `bca_interval`; a cluster's differences flip together.
        draws: random sign patterns, and the most patterns to enumerate.
        seed: of the random patterns.

    Returns:
        A probability above 0; 1.0 where every unit's sum is zero.
    """
    return sign_flip_ps([differences], clusters=clusters, draws=draws, seed=seed)[0]


def sign_flip_ps(
    table: Sequence[ArrayLike], *, clusters: Sequence[Hashable] | None = None, draws: int = 100_000, seed: int = 0
) -> list[float]:
    """The p-values that `sign_flip_p` gives for many cells on the same items, which share their random patterns.

    Args:
        table: for each cell [items], all in the same order.
        clusters: see `sign_flip_p`, as for the others.
        draws: how many random patterns.
    """
    check_draws(draws)
    sums = np.stack([_sums(finite("differences", row), clusters) for row in table], axis=1)
    p_values = np.ones(sums.shape[1])
    counts = np.count_nonzero(sums, axis=0)
    exact = (counts <= _EXACT_UNITS) & (2.0**counts <= draws)
    for cell in np.flatnonzero(exact & (counts > 0)):
        nonzero = sums[sums[:, cell] != 0, cell]
        p_values[cell] = (np.abs(_all_flips(nonzero)) >= _reach(nonzero)).mean()
    if not exact.all():
        p_values[~exact] = _random(sums[:, ~exact], draws, seed)
    return [float(p) for p in p_values]


def _sums(data: FloatArray, clusters: Sequence[Hashable] | None) -> FloatArray:
    """[units] sums; what is no more than rounding error is 0, else it would count as evidence."""
    sums, sizes = units(data, clusters)
    return np.where(np.abs(sums) > rounding(data, sizes), sums, 0.0)


def _reach(sums: FloatArray) -> FloatArray:
    """What a total must reach to count as the observed one or larger, for each column."""
    reach: FloatArray = np.abs(sums.sum(axis=0)) - TIE * np.abs(sums).sum(axis=0)
    return reach


def _random(sums: FloatArray, draws: int, seed: int) -> FloatArray:
    """[cells] (b + 1) / (draws + 1) from random patterns."""
    total, reach = sums.sum(axis=0), _reach(sums)
    hits = np.zeros(sums.shape[1])
    for flips in _random_flips(len(sums), draws, np.random.default_rng(seed), across=sums.shape[1]):
        hits += (np.abs(total - 2 * (flips @ sums)) >= reach).sum(axis=0)
    return (hits + 1) / (draws + 1)


def _random_flips(count: int, draws: int, random: np.random.Generator, across: int = 1) -> Iterator[FloatArray]:
    """Random sign patterns in blocks [rows, units]: 1 where the unit's sign is flipped, 0 where it isn't.

    `across` numbers are held for each pattern beside its signs.
    """
    for rows in blocks(draws, max(count, across)):
        packed = random.integers(0, 256, (rows, -(-count // 8)), dtype=np.uint8)  # a random bit is a sign
        yield np.unpackbits(packed, axis=1, count=count).astype(np.float64)


def _all_flips(sums: FloatArray) -> FloatArray:
    """The total under each sign pattern, up to a common sign: the first unit keeps its own."""
    totals = sums[:1]
    for value in sums[1:]:
        totals = np.concatenate([totals + value, totals - value])
    return totals


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979): p-values adjusted for a whole table, in the order given.

    None and NaN, the cells without a p-value, are not counted in the family and come back unchanged. Adjusted
    values keep the order of the raw ones, are at least as large, and at most 1.
    """
    family = [(p, index) for index, p in enumerate(p_values) if p is not None and not np.isnan(p)]
    adjusted = list(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(sorted(family)):
        if not 0 <= p <= 1:
            raise ValueError(f"p-value {index} is {p}, which is not a probability")
        largest = max(largest, min(1.0, p * (len(family) - rank)))
        adjusted[index] = largest
    return adjusted


def max_t(
    cells: ArrayLike, *, clusters: Sequence[Hashable] | None = None, draws: int = 100_000, seed: int = 0
) -> list[float | None]:
    """Two-sided p-values adjusted for the whole table, step-down max-T by joint sign flips.

    Westfall & Young (1993, Resampling-Based Multiple Testing, chapter 4): a sign pattern flips an item in
    all cells at once, so that what cells share is kept, and a cell's p is the share of patterns in which the
    largest statistic among it and the weaker cells reaches its own. Where cells are alike this costs far less
    than Holm; where they are independent, about the same. The statistic of a cell is |Σ s x| / √(Σ x²) over
    its units' sums: under the flips it has variance 1 whatever the cell's scale and number of items.

    Args:
        cells: [cells, items] differences paired by item; NaN where a cell lacks an item.
        clusters: [items] as for `bca_interval`; a cluster's differences flip together.
        draws: random sign patterns; all are enumerated where there are at most this many and at most 16
            units. Their p-values are never below 1 / (draws + 1), for a table of any size.

    Returns:
        For each cell its p-value in the order given: 1.0 where every unit's sum is zero, None without items.
        Never below the cell's own raw p-value but for the error of the draws.
    """
    check_draws(draws)
    sums, has_items = _standardized(table_of(cells), clusters)
    order = np.argsort(-np.abs(sums.sum(axis=0)), kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = _step_down(sums[:, order], draws, seed)
    return [float(value) if some else None for value, some in zip(adjusted, has_items, strict=True)]


def _step_down(sums: FloatArray, draws: int, seed: int) -> FloatArray:
    """[cells] adjusted p-values of standardized sums [units, cells], the strongest cell first."""
    reach = _reach(sums)
    exact = len(sums) <= _EXACT_TABLE_UNITS and 2 ** len(sums) <= draws
    hits, count, random = np.zeros(sums.shape[1]), 0, np.random.default_rng(seed)
    for flips in _all_patterns(len(sums)) if exact else _random_flips(len(sums), draws, random, across=max(sums.shape)):
        totals = np.abs(sums.sum(axis=0) - 2 * (flips @ sums))
        largest = np.maximum.accumulate(totals[:, ::-1], axis=1)[:, ::-1]
        hits, count = hits + (largest >= reach).sum(axis=0), count + len(flips)
    p_values: FloatArray = np.maximum.accumulate(hits / count if exact else (hits + 1) / (count + 1))
    return p_values


def _standardized(table: FloatArray, clusters: Sequence[Hashable] | None) -> tuple[FloatArray, NDArray[np.bool_]]:
    """[units, cells] each unit's sum over the cell's root of squares, and [cells] whether it has any item."""
    present = ~np.isnan(table)
    values = np.where(present, table, 0.0)
    code = unit_codes(table.shape[1], clusters)
    sums, sizes = np.zeros((code.max() + 1, len(table))), np.zeros((code.max() + 1, len(table)))
    np.add.at(sums, code, values.T)
    np.add.at(sizes, code, present.T.astype(np.float64))
    for cell, column in enumerate(values):
        sums[np.abs(sums[:, cell]) <= rounding(column, sizes[:, cell]), cell] = 0.0
    largest = np.abs(sums).max(axis=0)
    sums = sums / np.where(largest > 0, largest, 1.0)  # before squaring, so that tiny values don't underflow
    root = np.sqrt((sums**2).sum(axis=0))
    return sums / np.where(root > 0, root, 1.0), np.asarray(present.any(axis=1))


def _all_patterns(count: int) -> Iterator[FloatArray]:
    """Every sign pattern up to a common sign: the last unit keeps its own."""
    numbers = np.arange(2 ** (count - 1))[:, None]
    yield (numbers >> np.arange(count) & 1).astype(np.float64)
