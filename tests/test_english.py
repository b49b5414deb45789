"""The behaviors in natural English keep to the rules that data/english/README.md states."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from comparisons.dataset.behaviors import Behavior, Library
from comparisons.dataset.checks import check_all
from comparisons.dataset.items import Item

LIBRARY = Library.open("english")
FEWEST, SHARED = {"train": 90, "test": 45}, 0.35


@pytest.fixture(params=LIBRARY.names)
def behavior(request: pytest.FixtureRequest) -> Behavior:
    return LIBRARY.behavior(request.param)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def grams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2))}


def texts(item: Item) -> dict[str, str]:
    return {"question": item.stem, "matching": item.texts[0], "contrast": item.texts[1]}


def test_there_are_ten_behaviors_and_knowledge() -> None:
    assert len(LIBRARY.names) == 10
    knowledge = LIBRARY.knowledge("auto")
    assert knowledge is not None and knowledge.name == "english knowledge"
    assert len(knowledge.items) >= 240
    counts = Counter(item.category for item in knowledge.items)
    assert len(counts) >= 20 and set(counts.values()) == {12}
    assert all(len(item.texts) == 4 for item in knowledge.items)


def test_validate_finds_nothing() -> None:
    assert check_all(LIBRARY) == []


def test_neither_side_is_told_by_its_length_or_its_opening(behavior: Behavior) -> None:
    for part, least in FEWEST.items():
        items = getattr(behavior, part)
        assert len(items) >= least
        assert len({item.template for item in items}) >= 12
        pairs = [item.texts for item in items]
        longer = sum(len(matching) > len(contrast) for matching, contrast in pairs) / len(pairs)
        assert 0.42 <= longer <= 0.58
        assert max(max(map(len, pair)) / min(map(len, pair)) for pair in pairs) <= 1.6
        for side in (0, 1):
            openings = Counter(tuple(words(pair[side])[:4]) for pair in pairs)
            assert max(openings.values()) <= 0.05 * len(pairs)


def test_no_two_texts_are_alike(behavior: Behavior) -> None:
    items = [texts(item) for item in (*behavior.train, *behavior.test)]
    for kind in ("question", "matching", "contrast"):
        for left, right in itertools.combinations([grams(item[kind]) for item in items], 2):
            assert len(left & right) <= SHARED * len(left | right)


def test_it_can_be_put_into_words_and_judged(behavior: Behavior) -> None:
    assert behavior.prompts is not None and behavior.rubric
    assert behavior.paraphrases is not None and behavior.signs is not None
    assert all(len(behavior.paraphrases[side]) >= 3 for side in ("pos", "neg"))
    assert all(len(behavior.signs.sides[side]) >= 12 for side in ("pos", "neg"))
    assert len(behavior.open_ended) >= 20
