"""What two items have in common: the same content in other spacing, case or order of choices is the same item."""

from __future__ import annotations

from collections.abc import Hashable

from comparisons.dataset.items import Item


def plain(text: str) -> str:
    """The text without differences of case and spacing."""
    return " ".join(text.lower().split())


def content(item: Item) -> Hashable:
    """Equal for items that ask the same: the stem and the choices' texts, in whatever order."""
    if not item.choices:
        return plain(item.question)
    return plain(item.stem), frozenset(plain(choice.text) for choice in item.choices)


def wanted(item: Item) -> Hashable:
    """What the item calls matching: the text, or the letter where the choices can't be read."""
    texts = {choice.letter: plain(choice.text) for choice in item.choices}
    return texts.get(item.matching, item.matching)
