"""Shifts by the items' label: whether an effect hangs on what the right answer looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from comparisons import stats
from comparisons.evaluation.measures import Paired

LEAST = 2
"""Items that a label must have: one alone has no interval."""


def label_shifts(pair: Paired, labels: Mapping[str, str | None], seed: int) -> dict[str, Any]:
    """The shift of each label and the labels' differences, by the summary's keys.

    Args:
        pair: the cell against its baseline.
        labels: item -> its label.
        seed: of the intervals.

    Returns:
        "labels": label -> {"n_items", "shift", "ci"}, sorted by label; "label_differences": for each two labels
        {"first", "second", "shift", "ci"}, the second's shift minus the first's. Empty unless two labels have
        `LEAST` items each; labels with fewer are left out.
    """
    counts = Counter(label for item in pair.items if (label := labels.get(item)) is not None)
    usable = sorted(label for label, count in counts.items() if count >= LEAST)
    if len(usable) < 2:
        return {}
    # The order of the items is that of the labels, so that "false" is subtracted from "true".
    order = sorted(range(len(pair.items)), key=lambda i: labels.get(pair.items[i]) or "")
    chosen = [i for i in order if labels.get(pair.items[i]) in usable]
    split = stats.by_label(
        pair.difference[chosen],
        [labels[pair.items[i]] for i in chosen],
        clusters=None if pair.clusters is None else [pair.clusters[i] for i in chosen],
        seed=seed,
    )
    return {
        "labels": {
            str(label): {"n_items": effect.count, "shift": effect.mean, "ci": _bounds(effect.interval)}
            for label, effect in split.effects.items()
        },
        "label_differences": [
            {"first": found.first, "second": found.second, "shift": found.mean, "ci": _bounds(found.interval)}
            for found in split.differences
        ],
    }


def _bounds(interval: stats.Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
