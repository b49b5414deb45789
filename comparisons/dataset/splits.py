"""Where behaviors' files are; seeded splits and subsets by items' content; raw items cut into the paper's layout."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from comparisons.dataset.items import Item, OpenPrompt, content
from comparisons.dataset.lettering import BEHAVIOR, Fields
from comparisons.dataset.reading import SUFFIXES, check_kind
from comparisons.dataset.records import DiskItems, read_items
from comparisons.dataset.texts import TEXTS_FILE
from comparisons.util.errors import CompareError
from comparisons.util.files import write_json

TRAIN_PATH = "generate/{}/generate_dataset.json"
TEST_PATH = "test/{}/test_dataset_ab.json"
OPEN_ENDED_PATH = "test/{}/test_dataset_open_ended.json"


def behavior_names(place: Path) -> tuple[str, ...]:
    """The behaviors of a place, sorted, without reading their items.

    Raises:
        CompareError: there are none, or nothing is there.
    """
    if place.is_file():
        check_kind(place, ", or a folder")
        return (place.stem,)
    if not place.exists():
        raise CompareError(f"{place}: there is no such folder or file of data.")
    if files := _in_layout(place):
        return tuple(sorted({file.parent.name for file in files}))
    if split_files(place):
        folder = place.resolve()
        return (folder.parent.name if folder.name == "data" else folder.name,)
    if loose := loose_files(place):
        return tuple(sorted(loose))
    folders = [folder.name for folder in sorted(place.iterdir()) if folder.is_dir() and loose_files(folder)]
    needed = f"{TRAIN_PATH.format('NAME')} and {TEST_PATH.format('NAME')}, or files of one behavior each"
    inside = f"; there are some in its {', '.join(folders[:8])}" if folders else ""
    raise CompareError(f"{place}: holds no behaviors: it needs {needed}{inside}.")


def _in_layout(place: Path) -> list[Path]:
    return [*place.glob(TRAIN_PATH.format("*")), *place.glob(TEST_PATH.format("*"))]


def loose_files(place: Path) -> dict[str, Path]:
    """By behavior, the files of a folder that holds one file a behavior, as Anthropic's evaluations do.

    Empty for a folder in the paper's layout.

    Raises:
        CompareError: two files have one stem.
    """
    if not place.is_dir() or _in_layout(place):
        return {}
    files: dict[str, Path] = {}
    for file in sorted(place.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name == TEXTS_FILE or file.name.startswith("."):
            continue
        if file.stem in files:
            raise CompareError(
                f"{place}: {files[file.stem].name} and {file.name} would both be the behavior {file.stem}."
            )
        files[file.stem] = file
    return files


def split_files(place: Path) -> tuple[list[Path], list[Path]] | None:
    """What to fit on and what to test on, of a folder of one behavior's splits, laid out as the hub's data sets are.

    These are train and test, or validation where there is no test, each one file or several numbered ones.
    """
    loose = loose_files(place)
    parts = {name: match for name in loose if (match := _PART.fullmatch(name))}
    by_split = {
        split: [loose[n] for n in sorted(parts) if parts[n][1] == split] for split in ("train", "test", "validation")
    }
    test = by_split["test"] or by_split["validation"]
    return (by_split["train"], test) if len(parts) == len(loose) and by_split["train"] and test else None


_PART = re.compile(r"(train|test|validation)(?:-\d+-of-\d+)?")

TEST_ITEMS = 50
"""Of each behavior, as in the paper."""

Kind = TypeVar("Kind", Item, OpenPrompt)

# A side made of whole stems may fall this far short of its target before single items are dealt instead.
_SHORTFALL = 0.25

_HEAD, _FOOT = re.compile(r"\A\s*Question:\s*"), re.compile(r"\s*Answer:\s*\Z")


@dataclass(frozen=True)
class Split:
    """What a raw file was cut into.

    Attributes:
        repeated: how many items were left out because another has the same content.
    """

    behavior: str
    train: Sequence[Item]
    test: Sequence[Item]
    repeated: int
    folder: Path


def draw(
    items: Sequence[Kind], count: int, seed: int, kind: Callable[[Kind], Hashable] | None = None
) -> Sequence[Kind]:
    """A seeded subset of at most `count` items in their original order; a smaller one is part of a larger.

    Args:
        kind: of an item; of each kind equally many are drawn, but for one, as far as there are. All are of one by
            default.
    """
    assert count >= 1
    ranks = [_rank("draw", seed, item.question) for item in items]
    had, turns = Counter[Hashable](), list[tuple[int, int, int]]()
    for place, index in enumerate(sorted(range(len(items)), key=lambda index: (ranks[index], index))):
        of = kind(items[index]) if kind else None
        turns.append((had[of], place, index))
        had[of] += 1
    return _taken(items, sorted(index for *_, index in sorted(turns)[:count]))


def first_matches(pair: Item) -> bool:
    """Whether the matching answer is the first-listed of the two: the kind by which contrast pairs are balanced."""
    return pair.matching < pair.contrast


def resample(items: Sequence[Item], seed: int) -> Sequence[Item]:
    """As many items, drawn with replacement by the seed: whole templates, where items share some (the last is cut)."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item.template or index].append(index)
    parts, random, drawn = list(groups.values()), Random(seed), list[int]()
    while parts and len(drawn) < len(items):
        drawn += random.choice(parts)
    return _taken(items, drawn[: len(items)])


def split(items: Sequence[Item], count: int, least: int, seed: int) -> tuple[Sequence[Item], Sequence[Item]]:
    """Cuts about `count` items off.

    Items of one stem stay on one side where this leaves the part at no less than `least` and near `count`;
    otherwise the part has exactly `count` items. Templates are not kept together: the part must relate to the
    rest as test questions do, and those share the templates of what is fitted on.

    Args:
        count: the size to aim at; never exceeded.
        least: the smallest size allowed, at most `count`.

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


def _taken(items: Sequence[Kind], indices: Sequence[int]) -> Sequence[Kind]:
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
    where it goes, in whatever order they stand.

    Args:
        raw: a file of a kind in `reading.SUFFIXES`; the behavior is named by it, or by its folder where it is called
            dataset.
        out: folder in the paper's layout.
        train_items: how many of the others to keep, balanced by letter; all by default.
        replace: write over the items that are there; behavior.json stays.

    Raises:
        CompareError: the file can't be read or is too small, or the behavior is there already.
    """
    name = raw.resolve().parent.name if raw.stem == "dataset" else raw.stem
    places = [out / path.format(name) for path in (TRAIN_PATH, TEST_PATH, OPEN_ENDED_PATH)]
    if not replace and (there := next((place for place in places if place.exists()), None)):
        raise CompareError(f"{there} is there already: name another folder by --out, or write over it by --replace.")
    items = [_cleaned(item) for item in read_items(raw, name, answers=answers)]
    kept = tuple({content(item): item for item in reversed(items)}.values())[::-1]
    if len(kept) <= test_items:
        raise CompareError(f"{raw} has {len(kept)} different items: fewer than {test_items + 1}; use --test-items.")
    train, test = split(kept, test_items, test_items, seed)
    train = train if train_items is None else draw(train, train_items, seed, first_matches)
    _write(out, places, train, test)
    return Split(name, train, test, len(items) - len(kept), out)


def _write(out: Path, places: Sequence[Path], train: Sequence[Item], test: Sequence[Item]) -> None:
    """Writes pairs, test questions, and the latters' stems as open-ended prompts where they have some."""
    try:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        write_json(places[0], _records(train))
        write_json(places[1], _records(test))
        places[2].unlink(missing_ok=True)
        if stems := dict.fromkeys(item.stem for item in test if item.choices):
            write_json(places[2], [{"question": stem} for stem in stems])
    except OSError as error:
        raise CompareError(f"{out} can't be written to: {error.strerror}.") from error


def _cleaned(item: Item) -> Item:
    question = _FOOT.sub("", _HEAD.sub("", item.question)).strip()
    tags = _tags(item)
    return Item.parse(item.id, question, item.matching, item.contrast, **tags, own_letters=item.own_letters)


def _tags(item: Item) -> dict[str, str | None]:
    return {"template": item.template, "label": item.label, "category": item.category}


def _records(items: Sequence[Item]) -> list[dict[str, str]]:
    return [
        {
            BEHAVIOR.question: item.question,
            BEHAVIOR.matching: f"({item.matching})",
            BEHAVIOR.contrast: f"({item.contrast})",
            **{name: value for name, value in _tags(item).items() if value is not None},
        }
        for item in items
    ]
