"""What a number of items can show: the minimum detectable shift."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

from comparisons.stats.intervals import student_t
from comparisons.stats.units import FloatArray, check_share, finite, units


def standard_error(values: FloatArray, *, clusters: Sequence[Hashable] | None = None) -> float | None:
    """The standard error of the mean: √(m/(m − 1) · Σ (sum − mean · size)²) / N over m units with N items.

    With items alone this is sd / √N. With clusters it is the ratio estimator's (Cochran 1977, Sampling
    Techniques, chapter 6), the clusters being the units.

    Args:
        values: [items].
        clusters: [items] as for `bca_interval`.

    Returns:
        In the unit of the values; None with a single unit.
    """
    sums, sizes = units(finite("values", values), clusters)
    count, total = len(sums), float(sizes.sum())
    if count < 2:
        return None
    left = sums - float(sums.sum()) / total * sizes
    return math.sqrt(count / (count - 1) * float(left @ left)) / total


def minimum_detectable_shift(
    differences: FloatArray,
    *,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """The smallest true shift that a test on these items would find with the given power.

    (t(1 − alpha/2) + t(power)) · standard error, with t the quantile of Student's t for one degree of freedom less
    than there are units (Cohen 1988, chapter 2): 2.80 standard errors for many units, as in the normal
    approximation, and 3.15 for ten, where the normal one finds its shift in .66 of cases and this in .76. A
    shift below it that "isn't significant" is not evidence of no effect. docs/validity.md has the power that
    `sign_flip_p` reaches there.

    Args:
        differences: [items] paired differences, whose spread is taken as the truth's.
        clusters: [items] as for `bca_interval`.
        alpha: two-sided level of the test; for a table, divide it by the number of cells.
        power: the chance of finding the shift.

    Returns:
        In the unit of the differences; 0.0 where they don't differ, None with a single unit.
    """
    error = standard_error(differences, clusters=clusters)
    if error is None:
        return None
    return _distance(alpha, power, len(units(finite("differences", differences), clusters)[0])) * error


def detectable_shift(deviation: float, items: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The minimum detectable shift for so many independent items of this standard deviation.

    Args:
        deviation: of one item's difference, at least 0.
        items: how many, at least 2.
        alpha: as for `minimum_detectable_shift`.
        power: likewise.
    """
    if items < 2 or deviation < 0:
        raise ValueError(f"items must be at least 2 and the deviation at least 0, not {items} and {deviation}")
    return _distance(alpha, power, items) * deviation / math.sqrt(items)


def items_needed(shift: float, deviation: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """The fewest independent items, at least 2, that find a shift of this size with the given power.

    Args:
        shift: not 0.
        deviation: standard deviation of one item's difference, at least 0.
        alpha: as for `minimum_detectable_shift`.
        power: likewise.
    """
    if not shift or deviation < 0:
        raise ValueError(f"the shift must not be 0, nor the deviation negative: {shift} and {deviation}")
    _check_shares(alpha, power)
    normal = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    items = max(2, math.ceil((normal * deviation / shift) ** 2))  # Student's t asks for a few more
    while detectable_shift(deviation, items, alpha=alpha, power=power) > abs(shift):
        items += 1
    return items


def _distance(alpha: float, power: float, count: int) -> float:
    """How many standard errors out a shift lies that is found, with this many units."""
    _check_shares(alpha, power)
    return student_t(1 - alpha / 2, count - 1) + student_t(power, count - 1)


def _check_shares(alpha: float, power: float) -> None:
    check_share("alpha", alpha)
    check_share("power", power)
