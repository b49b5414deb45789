"""Sign-flip p-values of many cells at once: cells that share their items share the random flips too."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons import stats

DRAWS = 100_000
BLOCK = 1 << 20
"""Random signs held at a time."""

TIE = 1e-12
EXACT = 16
"""Independent items up to which `stats.sign_flip_p` enumerates every pattern of signs within its draws."""


def sign_flip_ps(
    differences: Sequence[NDArray[np.float64]], clusters: Sequence[Hashable] | None, seed: int, draws: int = DRAWS
) -> list[float]:
    """The p-values that `stats.sign_flip_p` gives, from one set of random flips for all cells.

    Args:
        differences: for each cell [items], all of the same items in the same order.
        clusters: [items] as for `stats.sign_flip_p`.
        seed: of the flips.
        draws: random sign patterns.
    """
    values = np.stack(differences, axis=1)
    sums, sizes = _units(values, clusters)
    # What is no more than rounding error would else count as evidence.
    noise = 8 * np.finfo(np.float64).eps * np.abs(values).max(axis=0) * sizes[:, None]
    sums = np.where(np.abs(sums) > noise, sums, 0.0)
    found = np.ones(values.shape[1])
    many = np.count_nonzero(sums, axis=0) > EXACT
    for index in np.flatnonzero(~many):
        found[index] = stats.sign_flip_p(values[:, index], clusters=clusters, draws=draws, seed=seed)
    if many.any():
        found[many] = _random(sums[:, many], draws, seed)
    return [float(p) for p in found]


def _random(sums: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    random, units = np.random.default_rng(seed), len(sums)
    total = sums.sum(axis=0)
    reach = np.abs(total) - TIE * np.abs(sums).sum(axis=0)
    hits = np.zeros(sums.shape[1])
    rows = max(1, BLOCK // max(units, sums.shape[1]))
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        packed = random.integers(0, 256, (count, -(-units // 8)), dtype=np.uint8)
        flips = np.unpackbits(packed, axis=1, count=units).astype(np.float64)
        hits += (np.abs(total - 2 * (flips @ sums)) >= reach).sum(axis=0)
    return (hits + 1) / (draws + 1)


def _units(
    values: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[units, cells] sums over each independent unit, and [units] its number of items."""
    if clusters is None:
        return values, np.ones(len(values))
    codes: dict[Hashable, int] = {}
    # None as a label means that the item stands alone.
    code = [codes.setdefault(("item", i) if c is None else (None, c), len(codes)) for i, c in enumerate(clusters)]
    sums = np.zeros((len(codes), values.shape[1]))
    np.add.at(sums, code, values)
    return sums, np.bincount(code).astype(np.float64)
