"""Test questions that stand among the pairs that methods are fitted on, word for word or nearly so."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Item
from comparisons.util.errors import CompareError

NEAR = 0.8
"""Of the three-word sequences that either of two stems has, the share in both beyond which they are alike."""

_WORD = re.compile(r"\w+")


def leaks(train: Iterable[Item], test: Sequence[Item], near: float = NEAR) -> list[tuple[Item, Item]]:
    """Each test question that leaks, with the first pair like it.

    Two are alike where their stems have the same words, whatever their case and punctuation, or more than `near` of
    their three-word sequences (Jaccard 1901). Items that both name a template are not held to
    the latter: they are variations of few sentences, and count as their templates.

    Args:
        train: pairs to fit on; gone through once.
    """
    words = [tuple(_WORD.findall(item.stem.lower())) for item in test]
    grams = [_grams(each) for each in words]
    with_words, with_gram = defaultdict[tuple[str, ...], list[int]](list), defaultdict[tuple[str, ...], list[int]](list)
    for place, (each, own) in enumerate(zip(words, grams, strict=True)):
        with_words[each].append(place)
        for gram in own:
            with_gram[gram].append(place)
    found: dict[int, Item] = {}
    for item in train:
        each = tuple(_WORD.findall(item.stem.lower()))
        own = _grams(each)
        common = Counter(place for gram in own for place in with_gram.get(gram, ()))
        alike = [place for place, n in common.items() if n > near * (len(own) + len(grams[place]) - n)]
        alike = [place for place in alike if not (item.template and test[place].template)]
        for place in (*with_words.get(each, ()), *alike):
            found.setdefault(place, item)
    return [(test[place], found[place]) for place in sorted(found)]


def leak_notes(behaviors: Mapping[str, Behavior], allowed: bool) -> tuple[str, ...]:
    """A line of each behavior whose test questions stand among its pairs.

    Raises:
        CompareError: there is one, and leaks are not allowed.
    """
    lines = []
    for name, behavior in behaviors.items():
        if found := leaks(behavior.train, behavior.test):
            pairs = ", ".join(f"{a.id} = {b.id}" for a, b in found[:3]) + (", …" if len(found) > 3 else "")
            lines.append(
                f"{name}: {len(found)} of {len(behavior.test)} test questions stand among the pairs to fit on, "
                f"word for word or nearly ({pairs})"
            )
    if lines and not allowed:
        raise CompareError(f"{lines[0]}: leave them out of either part, or say --allow-leaks.")
    return tuple(f"{line}: shifts may be larger than on new questions." for line in lines)


def _grams(words: Sequence[str]) -> set[tuple[str, ...]]:
    return set(zip(words, words[1:], words[2:], strict=False))
