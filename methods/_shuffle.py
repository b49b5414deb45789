"""Contrast pairs whose labels say nothing."""

from __future__ import annotations

import random
from dataclasses import replace

from comparisons.method import Fit


def shuffled(fit: Fit) -> Fit:
    """The same fit, with matching and contrast exchanged in half of the pairs, chosen by the seed."""
    items = fit.behavior.train
    chosen = set(random.Random(fit.seed).sample(range(len(items)), len(items) // 2))
    train = tuple(
        replace(item, matching=item.contrast, contrast=item.matching) if i in chosen else item
        for i, item in enumerate(items)
    )
    return replace(fit, behavior=replace(fit.behavior, train=train))
