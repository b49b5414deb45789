"""Results split by the items' label: does an effect hang on what the items' answers look like?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from comparisons.stats.effects import Effect, mean_effect
from comparisons.stats.intervals import Interval, difference_interval
from comparisons.stats.units import FloatArray, finite


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


def by_label(
    values: FloatArray,
    labels: Sequence[Hashable],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
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
        seed: of the draws.
    """
    data = finite("values", values)
    if len(labels) != len(data):
        raise ValueError(f"{len(labels)} labels for {len(data)} items")
    names = [label for label in dict.fromkeys(labels) if label is not None]
    places = {name: np.array([i for i, label in enumerate(labels) if label == name], dtype=np.intp) for name in names}
    effects = {name: mean_effect(data[mine], clusters=_of(clusters, mine), seed=seed) for name, mine in places.items()}
    differences = []
    for first, second in combinations(names, 2):
        both = np.sort(np.concatenate([places[first], places[second]]))
        found = difference_interval(data[both], np.isin(both, places[second]), clusters=_of(clusters, both), seed=seed)
        difference = effects[second].mean - effects[first].mean
        differences.append(LabelDifference(first, second, difference, found))
    groups = [data[mine] for mine in places.values()]
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
