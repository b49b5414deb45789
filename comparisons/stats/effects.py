"""Means with their interval and p-value: an effect, a stack's interaction, a split by label, behaviors pooled."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.flips import sign_flip_p
from comparisons.stats.intervals import Interval, bca_interval, difference_interval
from comparisons.stats.units import FloatArray, finite


@dataclass(frozen=True)
class Effect:
    """A mean over items.

    Attributes:
        count: items.
        mean: in the unit of the values.
        interval: its 95% BCa interval; None with one item or cluster.
        p_value: two-sided, of a mean of zero, by sign flips.
    """

    count: int
    mean: float
    interval: Interval | None
    p_value: float


@dataclass(frozen=True)
class LabelDifference:
    """The mean of the items of one label minus that of another.

    Attributes:
        first: the label subtracted.
        second: the label subtracted from.
        mean: the difference of the means.
        interval: its 95% BCa interval; None where a label has no more than one item or cluster.
    """

    first: Hashable
    second: Hashable
    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class LabelSplit:
    """A mean split by label.

    Attributes:
        effects: by label, in order of first appearance.
        differences: of each two labels.
        explained: the correlation ratio η²; None with one label or without variance.
        unlabelled: items without a label, which no part of this counts.
    """

    effects: dict[Hashable, Effect]
    differences: tuple[LabelDifference, ...]
    explained: float | None
    unlabelled: int


def mean_effect(values: FloatArray, *, clusters: Sequence[Hashable] | None = None, seed: int = 0) -> Effect:
    """The mean of paired differences with `bca_interval` and `sign_flip_p`.

    Args:
        values: [items].
        clusters: [items] as for `bca_interval`.
    """
    data = finite("values", values)
    return Effect(
        count=len(data),
        mean=float(data.mean()),
        interval=bca_interval(data, clusters=clusters, seed=seed),
        p_value=sign_flip_p(data, clusters=clusters, seed=seed),
    )


def interaction(
    stack: ArrayLike,
    parts: Sequence[ArrayLike],
    baseline: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Effect:
    """Is a stack more or less than the sum of its parts: (stack − baseline) − Σ (part − baseline), item by item.

    The interaction contrast of a factorial design (Fisher 1935, The Design of Experiments, chapter 6), paired by
    item. Positive: the parts help each other; negative: they get in each other's way, or the measure saturates.
    Probabilities saturate at 0 and 1, so a stack of two strong parts can't add up there; content logits don't,
    so judge it by them and give the probabilities beside. For `neg` a negative value is the stronger stack.

    Args:
        stack: [items] p_match or content logit of the stack.
        parts: for each of at least two elements, [items] with that element alone, in the stack's settings.
        baseline: [items] without any.
        clusters: [items] as for `bca_interval`.

    Raises:
        ValueError: fewer than two parts, or arrays of different items.
    """
    if len(parts) < 2:
        raise ValueError(f"an interaction needs at least two parts, not {len(parts)}")
    plain, whole = finite("baseline", baseline), finite("stack", stack)
    alone = [finite(f"part {index}", part) for index, part in enumerate(parts)]
    shapes = [array.shape for array in (plain, whole, *alone)]
    if len(set(shapes)) > 1:
        raise ValueError(f"items don't match: {', '.join(str(shape[0]) for shape in shapes)}")
    beyond = whole - plain - np.sum([part - plain for part in alone], axis=0)
    size = np.max(np.abs([plain, whole, *alone]), axis=0)
    # Sums of the same shifts in another order differ by rounding, which must not count as an interaction.
    noise = 8 * np.finfo(np.float64).eps * (1 + len(alone)) * size
    return mean_effect(np.where(np.abs(beyond) > noise, beyond, 0.0), clusters=clusters, seed=seed)


def by_label(
    values: FloatArray, labels: Sequence[Hashable], *, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> LabelSplit:
    """The mean of each label with its interval, the labels' differences, and the variance that labels explain.

    η² = Σ nₖ (meanₖ − mean)² / Σ (x − mean)² (Pearson 1905): the share of the variance
    between labels, 0 to 1. Labels that mean nothing explain (k − 1)/(n − 1) of it on average, so judge by the
    differences' intervals. A direction that looks like honesty but moves items labelled yes up and those
    labelled no down is a yes-bias: means of opposite sign, and a difference far from 0.

    Args:
        values: [items] shifts paired by item.
        labels: [items]; None where an item has none.
        clusters: [items] as for `bca_interval`; a cluster may hold several labels.
    """
    data = finite("values", values)
    if len(labels) != len(data):
        raise ValueError(f"{len(labels)} labels for {len(data)} items")
    names = [label for label in dict.fromkeys(labels) if label is not None]
    places = {name: np.array([i for i, label in enumerate(labels) if label == name], dtype=np.intp) for name in names}
    effects = {name: mean_effect(data[at], clusters=_of(clusters, at), seed=seed) for name, at in places.items()}
    differences = []
    for first, second in combinations(names, 2):
        both = np.sort(np.concatenate([places[first], places[second]]))
        is_second = np.isin(both, places[second])
        interval = difference_interval(data[both], is_second, clusters=_of(clusters, both), seed=seed)
        differences.append(LabelDifference(first, second, effects[second].mean - effects[first].mean, interval))
    groups = [data[at] for at in places.values()]
    return LabelSplit(effects, tuple(differences), _explained(groups), sum(label is None for label in labels))


def _of(clusters: Sequence[Hashable] | None, items: Sequence[int] | np.ndarray) -> list[Hashable] | None:
    if clusters is None:
        return None
    return [clusters[item] for item in items]


def _explained(groups: Sequence[FloatArray]) -> float | None:
    if len(groups) < 2:
        return None
    everything = np.concatenate(groups)
    left = everything - everything.mean()
    if (np.abs(left) <= 8 * np.finfo(np.float64).eps * np.abs(everything).max()).all():
        return None
    between = sum(len(group) * float(group.mean() - everything.mean()) ** 2 for group in groups)
    return min(1.0, between / float(left @ left))


LEAST = 3
"""Behaviors below which nothing is pooled: of two, t has one degree of freedom, and τ is a guess."""


@dataclass(frozen=True)
class Pooled:
    """A random-effects mean.

    Attributes:
        mean: the weighted mean.
        interval: 95%, of the mean over behaviors of this kind.
        tau: the standard deviation of true effects between behaviors.
        prediction: 95%, where the true effect in another behavior of this kind lies.
    """

    count: int
    mean: float
    interval: Interval
    tau: float
    prediction: Interval


def pooled(effects: Sequence[float], errors: Sequence[float], level: float = 0.95) -> Pooled | None:
    """The random-effects mean of effects with known standard errors.

    τ² solves Σ w_i (y_i − m)² = k − 1 with w_i = 1/(s_i² + τ²) (Paule & Mandel 1982, Consensus Values and Weighting
    Factors). The interval is m ± t(k − 1) · √(Σ w_i (y_i − m)² / (k − 1) / Σ w_i) (Hartung & Knapp 2001, A Refined
    Method for the Meta-analysis of Controlled Clinical Trials with Binary Outcome), whose root is never taken below
    that of 1 / Σ w_i, since effects may lie closer than their errors allow. The prediction interval is m ± t(k − 2) ·
    √(τ² + that square) (Higgins, Thompson & Spiegelhalter 2009, A Re-evaluation of Random-effects Meta-analysis).

    Args:
        effects: one a behavior.
        errors: their standard errors, above 0.
        level: of both intervals.

    Returns:
        None of fewer than `LEAST` effects.
    """
    if len(effects) < LEAST:
        return None
    y, s = finite("effects", effects), finite("errors", errors)
    if len(y) != len(s) or (s <= 0).any():
        raise ValueError("errors must be above 0, one an effect")
    from scipy.special import stdtrit

    tau2, count = _between(y, s**2), len(y)
    weights = 1 / (s**2 + tau2)
    mean = float(weights @ y / weights.sum())
    spread = max(1.0, float(weights @ (y - mean) ** 2) / (count - 1)) / float(weights.sum())
    half, wide = (float(stdtrit(df, (1 + level) / 2)) for df in (count - 1, count - 2))
    half, wide = half * math.sqrt(spread), wide * math.sqrt(spread + tau2)
    return Pooled(count, mean, Interval(mean - half, mean + half), math.sqrt(tau2), Interval(mean - wide, mean + wide))


def _between(y: FloatArray, variances: FloatArray) -> float:
    """τ², at least 0."""
    from scipy.optimize import brentq

    def beyond(tau2: float) -> float:
        weights = 1 / (variances + tau2)
        return float(weights @ (y - weights @ y / weights.sum()) ** 2) - (len(y) - 1)

    most = float(np.var(y, ddof=1)) * len(y) + float(variances.max())
    return float(brentq(beyond, 0.0, most, xtol=1e-15)) if beyond(0.0) > 0 else 0.0
