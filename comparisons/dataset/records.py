"""Reading items from JSON, JSONL and CSV files, with one clear line about what is wrong in one.

The items of large files are kept on disk: memory holds where each one is, and those that are looked at.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, overload

from comparisons.dataset.fields import Record, describe, letter_field, optional_field, text_field
from comparisons.dataset.items import Item, OpenPrompt
from comparisons.dataset.lettering import BEHAVIOR, KNOWLEDGE, LETTERS_MADE, Fields, is_many, lettered, parse_many
from comparisons.util.errors import CompareError
from comparisons.util.files import load_json

SUFFIXES = (".json", ".jsonl", ".csv")

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
        path: a .json file (a list of objects), a .jsonl or a .csv one.
        section: begins the items' ids.
        fields: the names of the fields; `template`, `label` and `category` are read too, others are not.
        answers: the names of the fields where every record is a question with two answers and no letters; by default
            those with fields as in `ANSWERS` are.

    A question with two answers gets letters, the matching answer "A" in every second one. A file of claims, whose
    records have a `statement` and a `label` and no question, is read as items that ask whether the claim is true; the
    truthful answer matches. Knowledge questions may have one right choice among several, see `parse_many`.

    Raises:
        CompareError: names the file, the item (counted from 1) and the field.
    """

    def make(record: Record, number: int) -> Item:
        where = f"{path}: item {number}"
        if fields is KNOWLEDGE and is_many(record):
            return parse_many(record, where, f"{section}/{number - 1}")
        if fields is BEHAVIOR:
            record = lettered(record, where, number, answers)
        return parse_item(record, where, f"{section}/{number - 1}", fields)

    if _is_large(path):
        return DiskItems(stream_records(path), make)
    return tuple(make(record, number) for number, record in enumerate(read_records(path), start=1))


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > LARGE
    except OSError:
        return False  # reading it says what is wrong


def read_prompts(path: Path) -> tuple[OpenPrompt, ...]:
    """Reads a file of open-ended prompts: each item's fields `question` and `template`, if any."""
    prompts = []
    for number, record in enumerate(read_records(path), start=1):
        where = f"{path}: item {number}"
        text, template = text_field(record, "question", where), optional_field(record, "template", where)
        prompts.append(OpenPrompt(f"open/{number - 1}", text, template))
    return tuple(prompts)


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte order mark."""
    try:
        # No translation of line ends: a question stays exactly as in its file.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise CompareError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CompareError(f"{path}: is not UTF-8 (byte {error.start}): save it as UTF-8.") from error


def read_records(path: Path) -> list[Record]:
    """Reads the objects of a .json, .jsonl or .csv file, at least one.

    Raises:
        CompareError: names the file and the item.
    """
    kind = _kind(path)
    text = read_text(path)
    values: Iterable[object]
    if kind == ".csv":
        values = _csv_rows(io.StringIO(text, newline=""), path)
    else:
        values = _from_json(text, path) if kind == ".json" else _jsonl_objects(io.BytesIO(text.encode()), path)
    return list(_objects(values, path))


def stream_records(path: Path) -> Iterator[Record]:
    """Reads what `read_records` does, one object after the other, of a file of any size.

    Raises:
        CompareError: names the file and the item.
    """
    kind = _kind(path)
    try:
        if kind == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as text:
                yield from _objects(_csv_rows(text, path), path)
        else:
            with path.open("rb") as file:
                yield from _objects((_json_objects if kind == ".json" else _jsonl_objects)(file, path), path)
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CompareError(f"{path}: is not UTF-8: save it as UTF-8.") from error


def _kind(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise CompareError(f"{path}: unknown kind of file: use {', '.join(SUFFIXES)}.")
    return path.suffix.lower()


def _objects(values: Iterable[object], path: Path) -> Iterator[Record]:
    """The values, which must be objects, at least one."""
    number = 0
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise CompareError(f"{path}: item {number} must be an object with fields, not {describe(value)}.")
        yield value
    if not number:
        raise CompareError(f"{path}: holds no items: it needs at least one.")


def _json_objects(file: IO[bytes], path: Path) -> Iterator[object]:
    import ijson

    try:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        first = file.peek(64).lstrip()[:1] if isinstance(file, io.BufferedReader) else b"["
        if first != b"[":
            raise CompareError(f"{path}: must hold a list of items.")
        yield from ijson.items(file, "item", use_float=True)
    except ijson.JSONError as error:
        raise CompareError(f"{path}: is not JSON, or is cut off ({' '.join(str(error).split())}).") from error


def _jsonl_objects(file: IO[bytes], path: Path) -> Iterator[object]:
    number = 0
    for place, line in enumerate(file):  # only "\n" ends a line, and not U+2028 or others that JSON strings may hold
        text = line.decode("utf-8-sig" if place == 0 else "utf-8").rstrip("\n")
        if text.strip():
            number += 1
            yield load_json(text, f"{path}: item {number}")


def _from_json(text: str, path: Path) -> list[object]:
    values = load_json(text, str(path))
    if not isinstance(values, list):
        raise CompareError(f"{path}: must hold a list of items, not {describe(values)}.")
    return values


def _csv_rows(text: IO[str], path: Path) -> Iterator[object]:
    count = 0
    try:
        reader = csv.DictReader(text, strict=True)
        header = list(reader.fieldnames or ())
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise CompareError(f"{path}: two columns have one name: {describe(twice[0])}.")
        for row in reader:
            if None in row:
                raise CompareError(f"{path}: item {count + 1} has more cells than the header has names.")
            yield {name: value for name, value in row.items() if value is not None}
            count += 1
    except csv.Error as error:
        raise CompareError(f"{path}: item {count + 1} is not CSV: {error}.") from error


def parse_item(record: Record, where: str, id: str, fields: Fields = BEHAVIOR) -> Item:
    """Reads one item.

    Args:
        record: its fields.
        where: begins messages.
        id: the item's.
        fields: their names.

    Raises:
        CompareError: a field is missing or wrong.
    """
    item = Item.parse(
        id,
        text_field(record, fields.question, where),
        letter_field(record, fields.matching, where),
        letter_field(record, fields.contrast, where),
        template=optional_field(record, "template", where),
        label=optional_field(record, "label", where),
        category=optional_field(record, "category", where),
        own_letters=not record.get(LETTERS_MADE),
    )
    if item.matching == item.contrast:
        raise CompareError(
            f"{where}: fields '{fields.matching}' and '{fields.contrast}' are both ({item.matching}): "
            "they must name different choices."
        )
    letters = [choice.letter for choice in item.choices]
    for field, letter in ((fields.matching, item.matching), (fields.contrast, item.contrast)):
        if letters and letter not in letters:
            named = ", ".join(letters)
            raise CompareError(f"{where}: field '{field}' is ({letter}), but the choices are {named}.")
    return item
