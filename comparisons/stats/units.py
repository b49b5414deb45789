"""What the estimators share: checked arrays, independent units, rounding, and draws that stay within memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

TIE = 1e-12
"""Relative: sums of the same numbers in another order differ by rounding and must count as equal."""

BLOCK = 1 << 17
"""Numbers held at a time while drawing: 1 MiB an array, which a processor's cache holds."""

_EPSILON = float(np.finfo(np.float64).eps)


def check_draws(draws: int) -> None:
    """Raises ValueError for fewer than one draw."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")


def check_share(name: str, value: float) -> None:
    """Raises ValueError unless the value lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}")


def finite(name: str, values: ArrayLike) -> FloatArray:
    """The values as [items] of float64; ValueError where empty, of another shape, or not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be one number an item and not empty; its shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity at item {int(np.argmin(np.isfinite(array)))}")
    return array


def table_of(cells: ArrayLike) -> FloatArray:
    """The values as [cells, items] of float64, NaN where a cell lacks an item; ValueError where empty or infinite."""
    table = np.asarray(cells, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"cells must be [cells, items] and not empty; the shape is {table.shape}")
    if np.isinf(table).any():
        cell, item = np.argwhere(np.isinf(table))[0]
        raise ValueError(f"cells holds infinity at cell {cell}, item {item}")
    return table


def unit_codes(count: int, clusters: Sequence[Hashable] | None) -> NDArray[np.intp]:
    """[items] the number of each item's independent unit, counted in order of first appearance.

    An item whose label is None stands alone.
    """
    if clusters is None:
        return np.arange(count)
    if len(clusters) != count:
        raise ValueError(f"{len(clusters)} cluster labels for {count} items")
    codes: dict[tuple[bool, Hashable], int] = {}
    keys = ((label is None, item if label is None else label) for item, label in enumerate(clusters))
    return np.array([codes.setdefault(key, len(codes)) for key in keys], dtype=np.intp)


def units(values: FloatArray, clusters: Sequence[Hashable] | None) -> tuple[FloatArray, FloatArray]:
    """The sum and the number of items of each independent unit, in order of first appearance."""
    if clusters is None:
        return values, np.ones_like(values)
    code = unit_codes(len(values), clusters)
    sums = np.bincount(code, weights=values)
    return np.asarray(sums, np.float64), np.asarray(np.bincount(code), np.float64)


def rounding(values: FloatArray, sizes: FloatArray) -> FloatArray:
    """The largest part of each unit's sum that can be rounding error."""
    return 8 * _EPSILON * float(np.abs(values).max()) * sizes


def blocks(draws: int, width: int) -> Iterator[int]:
    """Splits the draws so that a block of them, `width` numbers each, stays within memory."""
    rows = max(1, BLOCK // width)
    for start in range(0, draws, rows):
        yield min(rows, draws - start)
