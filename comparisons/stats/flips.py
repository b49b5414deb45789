"""The p-value of a mean paired difference, by flipping signs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.units import TIE, FloatArray, blocks, check_draws, finite, rounding, units

_EXACT_UNITS = 20  # 2**20 sums are held at once; above this, draw however many draws are allowed


def sign_flip_p(
    differences: FloatArray,
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = 100_000,
    seed: int = 0,
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
    table: Sequence[ArrayLike],
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = 100_000,
    seed: int = 0,
) -> list[float]:
    """The p-values that `sign_flip_p` gives for many cells on the same items, which share their random patterns.

    Args:
        table: for each cell [items], all in the same order.
        clusters: see `sign_flip_p`, as for the others.
        draws: how many random patterns.
        seed: of the random patterns.
    """
    check_draws(draws)
    sums = np.stack([_sums(finite("differences", row), clusters) for row in table], axis=1)
    found = np.ones(sums.shape[1])
    counts = np.count_nonzero(sums, axis=0)
    exact = (counts <= _EXACT_UNITS) & (2.0**counts <= draws)
    for cell in np.flatnonzero(exact & (counts > 0)):
        own = sums[sums[:, cell] != 0, cell]
        found[cell] = (np.abs(_all_flips(own)) >= _reach(own)).mean()
    if not exact.all():
        found[~exact] = _random(sums[:, ~exact], draws, seed)
    return [float(p) for p in found]


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
    for flips in random_flips(len(sums), draws, np.random.default_rng(seed), across=sums.shape[1]):
        hits += (np.abs(total - 2 * (flips @ sums)) >= reach).sum(axis=0)
    return (hits + 1) / (draws + 1)


def random_flips(count: int, draws: int, random: np.random.Generator, across: int = 1) -> Iterator[FloatArray]:
    """Random sign patterns in blocks [rows, units]: 1 where the unit's sign is flipped, 0 where it isn't.

    Args:
        count: units.
        draws: patterns.
        random: where they are drawn from.
        across: numbers that are held for each pattern beside its signs.
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
