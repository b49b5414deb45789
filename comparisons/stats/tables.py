"""Corrections of the p-values of a whole table: Holm, and max-T for cells that share their items."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparisons.stats.flips import random_flips
from comparisons.stats.units import TIE, FloatArray, blocks, check_draws, rounding, unit_codes

_EXACT_UNITS = 16


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
    cells: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = 100_000,
    seed: int = 0,
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
        seed: of the random patterns.

    Returns:
        For each cell its p-value in the order given: 1.0 where every unit's sum is zero, None without items.
        Never below the cell's own raw p-value but for the error of the draws.
    """
    check_draws(draws)
    sums, has_items = _standardized(_table(cells), clusters)
    observed = np.abs(sums.sum(axis=0))
    order = np.argsort(-observed, kind="stable")
    sums = sums[:, order]
    reach = observed[order] - TIE * np.abs(sums).sum(axis=0)
    exact = len(sums) <= _EXACT_UNITS and 2 ** len(sums) <= draws
    patterns = _all_patterns(len(sums)) if exact else _drawn(sums.shape, draws, seed)
    hits, count = np.zeros(len(order)), 0
    for flips in patterns:
        totals = np.abs(sums.sum(axis=0) - 2 * (flips @ sums))
        largest = np.maximum.accumulate(totals[:, ::-1], axis=1)[:, ::-1]
        hits, count = hits + (largest >= reach).sum(axis=0), count + len(flips)
    p = np.maximum.accumulate(hits / count if exact else (hits + 1) / (count + 1))
    adjusted = np.empty(len(order))
    adjusted[order] = p
    return [float(value) if some else None for value, some in zip(adjusted, has_items, strict=True)]


def _table(cells: ArrayLike) -> FloatArray:
    table = np.asarray(cells, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"cells must be [cells, items] and not empty; the shape is {table.shape}")
    if np.isinf(table).any():
        cell, item = np.argwhere(np.isinf(table))[0]
        raise ValueError(f"cells holds infinity at cell {cell}, item {item}")
    return table


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


def _drawn(shape: tuple[int, ...], draws: int, seed: int) -> Iterator[FloatArray]:
    random = np.random.default_rng(seed)
    for rows in blocks(draws, max(shape)):  # a block holds the flips of the units and the totals of the cells
        yield from random_flips(shape[0], rows, random)


def _all_patterns(count: int) -> Iterator[FloatArray]:
    """Every sign pattern up to a common sign: the last unit keeps its own."""
    numbers = np.arange(2 ** (count - 1))[:, None]
    yield (numbers >> np.arange(count) & 1).astype(np.float64)
