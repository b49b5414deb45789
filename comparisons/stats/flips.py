"""The p-value of a mean paired difference, by flipping signs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

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
    check_draws(draws)
    data = finite("differences", differences)
    sums, sizes = units(data, clusters)
    sums = sums[np.abs(sums) > rounding(data, sizes)]
    if not len(sums):
        return 1.0
    reach = abs(float(sums.sum())) - TIE * float(np.abs(sums).sum())
    if len(sums) <= _EXACT_UNITS and 2 ** len(sums) <= draws:
        return float((np.abs(_all_flips(sums)) >= reach).mean())
    hits = sum(
        int((np.abs(sums.sum() - 2 * (flips @ sums)) >= reach).sum())
        for flips in random_flips(len(sums), draws, np.random.default_rng(seed))
    )
    return (hits + 1) / (draws + 1)


def random_flips(count: int, draws: int, random: np.random.Generator) -> Iterator[FloatArray]:
    """Random sign patterns in blocks [rows, units]: 1 where the unit's sign is flipped, 0 where it isn't."""
    for rows in blocks(draws, count):
        packed = random.integers(0, 256, (rows, -(-count // 8)), dtype=np.uint8)  # a random bit is a sign
        yield np.unpackbits(packed, axis=1, count=count).astype(np.float64)


def _all_flips(sums: FloatArray) -> FloatArray:
    """The total under each sign pattern, up to a common sign: the first unit keeps its own."""
    totals = sums[:1]
    for value in sums[1:]:
        totals = np.concatenate([totals + value, totals - value])
    return totals
