"""The items and prompts of a file. The items of large files are kept on disk: memory holds where each one is."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, overload

from comparisons.dataset.fields import Record, optional_field, text_field
from comparisons.dataset.items import Item, OpenPrompt
from comparisons.dataset.lettering import BEHAVIOR, Fields, Origin, names_read, read_item
from comparisons.dataset.packaged import ENGLISH, POCKET, place_of
from comparisons.dataset.reading import Reading
from comparisons.dataset.turns import Turns
from comparisons.util.errors import CompareError

LARGE = 16 * 2**20
"""Bytes of a file from which its items are kept on disk."""

AHEAD = 256
"""Items that are read at once where they are gone through one by one."""

Make = Callable[[Record, int], Item]


class DiskItems(Sequence[Item]):
    """Items in a file of this process's own, which is gone with it: the user's may change, and reads as it was.

    Args:
        records: what items are made of; gone through once.
        make: makes an item of its record and number, counted from 1; raises CompareError where it can't.
    """

    def __init__(self, records: Iterable[Record], make: Make) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the items are
        self._make, self._ends = make, array("Q", [0])
        for number, record in enumerate(records, start=1):
            make(record, number)  # what is wrong is said now
            self._ends.append(self._ends[-1] + self._file.write(json.dumps(record).encode()))
        self._file.flush()
        self._chosen: Sequence[int] = range(len(self._ends) - 1)

    def take(self, indices: Sequence[int]) -> DiskItems:
        """Some of these items, in this order."""
        taken = DiskItems.__new__(DiskItems)
        taken._file, taken._make, taken._ends = self._file, self._make, self._ends
        taken._chosen = array("Q", [self._chosen[index] for index in indices])
        return taken

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> DiskItems: ...
    def __getitem__(self, index: int | slice) -> Item | DiskItems:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        place = self._chosen[index]
        return self._made(self._read(place), place)

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), AHEAD):
            places = self._chosen[start : start + AHEAD]
            low, high = self._ends[min(places)], self._ends[max(places) + 1]
            data = os.pread(self._file.fileno(), high - low, low) if max(places) - min(places) < 4 * AHEAD else None
            for place in places:
                begin, end = self._ends[place] - low, self._ends[place + 1] - low
                yield self._made(self._read(place) if data is None else data[begin:end], place)

    def _read(self, place: int) -> bytes:
        start, end = self._ends[place], self._ends[place + 1]
        # No position is moved: another thread, or a fork, may be reading too.
        return os.pread(self._file.fileno(), end - start, start)

    def _made(self, data: bytes, place: int) -> Item:
        return self._make(json.loads(data), place + 1)


def read_items(path: Path, section: str, fields: Fields = BEHAVIOR, answers: Fields | None = None) -> Sequence[Item]:
    """Reads a file of multiple-choice items.

    Args:
        path: a file of a kind in `reading.SUFFIXES`.
        section: begins the items' ids.
        fields: `BEHAVIOR`, or `KNOWLEDGE` of knowledge questions, which may have one right choice among several.
        answers: the names of the question's and its two answers' fields, where not those of `BEHAVIOR` or `ANSWERS`.

    `template`, `label` and `category` are read too, others are not. A question with two answers that are no letters
    gets letters: which answer is "A" is drawn (`Turns`). A file of claims, whose records have a `statement` and a
    `label` and no question, is read as items that ask whether the claim is true; the truthful answer matches.

    Raises:
        CompareError: names the file, the item (counted from 1) and the field.
    """
    reading, known, turns = Reading(path), names_read(fields, answers), Turns()

    def make(record: Record, number: int) -> Item:
        reading.ignore(name for name in record if name not in known)
        origin = Origin(f"{path}: item {number}", f"{section}/{number - 1}", number, reading.note, turns)
        return read_item(record, origin, fields, answers)

    if _is_large(path):
        return DiskItems(reading.records(), make)
    return tuple(make(record, number) for number, record in enumerate(reading.records(), start=1))


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > LARGE
    except OSError:
        return False  # reading it says what is wrong


def read_prompts(path: Path) -> tuple[OpenPrompt, ...]:
    """Reads a file of open-ended prompts: each item's fields `question` and `template`, if any."""
    reading, prompts = Reading(path), []
    for number, record in enumerate(reading.records(), start=1):
        reading.ignore(name for name in record if name not in ("question", "template"))
        where = f"{path}: item {number}"
        text, template = text_field(record, "question", where), optional_field(record, "template", where)
        prompts.append(OpenPrompt(f"open/{number - 1}", text, template))
    return tuple(prompts)


def read_records(path: Path) -> list[Record]:
    """Reads the objects of a file, at least one; a CompareError names the file and the item."""
    return list(Reading(path).records())


NEUTRAL_PATH = "neutral/prompts.json"
LEAST = 2
"""Of each part."""


@dataclass(frozen=True)
class NeutralPrompts:
    """Prompts that no behavior has a say in, by which is told what else a change does; half are there to choose by."""

    source: Path
    dev: Sequence[OpenPrompt]
    test: Sequence[OpenPrompt]

    @property
    def name(self) -> str:
        """The file; of one that comes with the package, its path among the package's data."""
        home = place_of(POCKET)
        return str(self.source.relative_to(home) if self.source.is_relative_to(home) else self.source)

    def part(self, split: Literal["dev", "test"]) -> Sequence[OpenPrompt]:
        """Those to choose by, or those to measure on."""
        return self.dev if split == "dev" else self.test


def neutral_prompts(data: Path | None, embedded: bool) -> NeutralPrompts:
    """The neutral prompts of some data; where these have none, those that come with the package for the model.

    Args:
        data: a folder or file, or a name, as of `--data`.
        embedded: whether the model is the embedded one, which has a language of its own.

    Raises:
        CompareError: the file can't be read, or holds fewer than two prompts a part.
    """
    own = None if data is None else place_of(data) / NEUTRAL_PATH
    return _read(own if own is not None and own.is_file() else place_of(POCKET if embedded else ENGLISH) / NEUTRAL_PATH)


@cache
def _read(file: Path) -> NeutralPrompts:
    prompts = [replace(prompt, id=f"neutral/{place}") for place, prompt in enumerate(read_prompts(file))]
    if len(prompts) < 2 * LEAST:
        raise CompareError(f"{file}: holds {len(prompts)} neutral prompts: at least {2 * LEAST} are needed.")
    return NeutralPrompts(file, prompts[::2], prompts[1::2])
