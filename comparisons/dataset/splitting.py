"""Raw items into the paper's layout: contrast pairs to generate from, and test questions that are none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparisons.dataset.contents import content
from comparisons.dataset.folders import OPEN_ENDED_PATH, TEST_PATH, TRAIN_PATH
from comparisons.dataset.items import Item
from comparisons.dataset.lettering import Fields
from comparisons.dataset.records import read_items
from comparisons.dataset.splits import draw, split
from comparisons.util.errors import CompareError
from comparisons.util.files import write_json

TEST_ITEMS = 50
"""Of each behavior, as in the paper."""

_HEAD, _FOOT = re.compile(r"\A\s*Question:\s*"), re.compile(r"\s*Answer:\s*\Z")


@dataclass(frozen=True)
class Split:
    """What a raw file was cut into.

    Attributes:
        behavior: its name.
        train: contrast pairs.
        test: questions.
        repeated: how many items were left out because another has the same content.
        folder: the place in the paper's layout.
    """

    behavior: str
    train: Sequence[Item]
    test: Sequence[Item]
    repeated: int
    folder: Path


def split_file(
    raw: Path,
    out: Path,
    test_items: int = TEST_ITEMS,
    train_items: int | None = None,
    seed: int = 0,
    answers: Fields | None = None,
    replace: bool = False,
) -> Split:
    """Cuts a file of raw items, and writes both parts and the test questions' stems as open-ended prompts.

    As the paper's process_raw_datasets: "Question:" and "Answer:" around a question go. Unlike it, an item that repeats
    another one goes too, items of one stem stay on one side where that is possible, and each item's content decides
    where it goes, so that the same items are cut alike in any order.

    Args:
        raw: .json, .jsonl or .csv; the behavior is named by the file, or by its folder where it is called dataset.
        out: folder in the paper's layout.
        test_items: how many to cut off.
        train_items: how many of the others to keep; all by default.
        seed: of the split.
        answers: see `read_items`.
        replace: write over the items that are there; behavior.json stays.

    Raises:
        CompareError: the file can't be read or is too small, or the behavior is there already.
    """
    name = raw.resolve().parent.name if raw.stem == "dataset" else raw.stem
    places = [out / path.format(name) for path in (TRAIN_PATH, TEST_PATH, OPEN_ENDED_PATH)]
    there = next((place for place in places if place.exists()), None)
    if there is not None and not replace:
        raise CompareError(f"{there} is there already: name another folder by --out, or write over it by --replace.")
    items = [_cleaned(item) for item in read_items(raw, name, answers=answers)]
    kept = tuple({content(item): item for item in reversed(items)}.values())[::-1]
    if len(kept) <= test_items:
        raise CompareError(f"{raw} has {len(kept)} different items: fewer than {test_items + 1}; use --test-items.")
    train, test = split(kept, test_items, test_items, seed)
    train = train if train_items is None else draw(train, train_items, seed)
    stems = list(dict.fromkeys(item.stem for item in test if item.choices))
    try:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        write_json(places[0], _records(train))
        write_json(places[1], _records(test))
        places[2].unlink(missing_ok=True)
        if stems:
            write_json(places[2], [{"question": stem} for stem in stems])
    except OSError as error:
        raise CompareError(f"{out} can't be written to: {error.strerror}.") from error
    return Split(name, train, test, len(items) - len(kept), out)


def _cleaned(item: Item) -> Item:
    question = _FOOT.sub("", _HEAD.sub("", item.question)).strip()
    told = {"template": item.template, "label": item.label, "category": item.category}
    return Item.parse(item.id, question, item.matching, item.contrast, **told)


def _records(items: Sequence[Item]) -> list[dict[str, str]]:
    found = []
    for item in items:
        record = {
            "question": item.question,
            "answer_matching_behavior": f"({item.matching})",
            "answer_not_matching_behavior": f"({item.contrast})",
        }
        told = {"template": item.template, "label": item.label, "category": item.category}
        found.append(record | {name: value for name, value in told.items() if value is not None})
    return found
