"""Knowledge by the questions' category: MMLU's subjects, TruthfulQA's kinds of falsehood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from comparisons.dataset.items import Item
from comparisons.evaluation.measures import ItemMeasures


def by_category(mine: ItemMeasures, plain: ItemMeasures, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """The mean probability of the correct choice in each category, and what it cost there.

    A category holds few questions (ten of MMLU's 570 a subject), so that its numbers are for looking at: they
    have no interval, and the cost of all questions has one.

    Args:
        mine: the cell's measures on the questions.
        plain: the baseline's.
        items: the questions, with their categories.

    Returns:
        Category -> {"n_items", "knowledge", "cost"}, sorted by name; empty where no question has one.
    """
    category = {item.id: item.category for item in items}
    before = dict(zip(plain.items, plain.p_match.tolist(), strict=True))
    found: dict[str, list[tuple[float, float]]] = {}
    for item, value in zip(mine.items, mine.p_match.tolist(), strict=True):
        name = category.get(item)
        if name and item in before:
            found.setdefault(name, []).append((value, before[item]))
    means = {name: np.mean(values, axis=0).tolist() for name, values in sorted(found.items())}
    return {
        name: {"n_items": len(found[name]), "knowledge": value, "cost": baseline - value}
        for name, (value, baseline) in means.items()
    }
