"""Seeded splits and subsets of items: decided by each item's content, never by its place in a file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TypeVar

from comparisons.dataset.disk_items import DiskItems
from comparisons.dataset.items import Item, OpenPrompt

Asked = TypeVar("Asked", Item, OpenPrompt)

# A side made of whole stems may fall this far short of its target before single items are dealt instead.
_SHORTFALL = 0.25


def draw(items: Sequence[Asked], count: int, seed: int) -> Sequence[Asked]:
    """A seeded subset of at most `count` items in their original order; a smaller one is part of a larger."""
    assert count >= 1
    ranks = [_rank("draw", seed, item.question) for item in items]
    ranked = sorted(range(len(items)), key=lambda index: (ranks[index], index))
    return _taken(items, sorted(ranked[:count]))


def split(items: Sequence[Item], count: int, least: int, seed: int) -> tuple[Sequence[Item], Sequence[Item]]:
    """Cuts about `count` items off.

    Items of one stem stay on one side where this leaves the part at no less than `least` and near `count`;
    otherwise the part has exactly `count` items. Templates are not kept together: the part must relate to the
    rest as test questions do, and those share the templates of what is fitted on.

    Args:
        items: all of them.
        count: the size to aim at; never exceeded.
        least: the smallest size allowed, at most `count`.
        seed: of the hash.

    Returns:
        The rest and the part cut off, each in the original order.
    """
    enough = max(least, (1 - _SHORTFALL) * count)
    part: Collection[int] = _whole_stems(items, count, seed)
    if len(part) < enough:
        ranks = [_rank("split", seed, item.question) for item in items]
        part = set(sorted(range(len(items)), key=lambda index: (ranks[index], index))[:count])
    rest = [index for index in range(len(items)) if index not in part]
    return _taken(items, rest), _taken(items, sorted(part))


def _taken(items: Sequence[Asked], indices: Sequence[int]) -> Sequence[Asked]:
    """Some of the items, in this order, kept as they are kept."""
    if isinstance(items, DiskItems):
        return items.take(indices)
    return tuple(items[index] for index in indices)


def _whole_stems(items: Sequence[Item], count: int, seed: int) -> set[int]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[_rank("split", seed, item.stem)].append(index)
    part: set[int] = set()
    for _, members in sorted(groups.items()):
        if len(part) + len(members) <= count:
            part.update(members)
    return part


def _rank(purpose: str, seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{purpose} {seed} {text}".encode()).digest()
