"""Any file of records, whatever its name says: encoding, form and separator are found by its content.

What was unusual and yet plain is said in one line, once all is read.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO

from comparisons.dataset.fields import Record, describe
from comparisons.util.errors import CompareError

log = logging.getLogger(__name__)

LINES, TABLES, PARQUET = (".jsonl", ".ndjson"), {".csv": ",;\t|", ".tsv": "\t,;|"}, ".parquet"
SUFFIXES = (".json", *LINES, *TABLES, PARQUET)
"""Of a table's kind come the separators that its columns may have, the usual one first."""

MENDS = {
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"), "unpack it first"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save its table as .csv"),
}
"""What makes one of these kinds of another."""

CHUNK = 1 << 16
"""Bytes or characters that are read at once."""

LARGEST = 1 << 28
"""Characters of one JSON value, which is held whole."""

NAMED = 8
"""Fields that are named as not read."""

_CALLED = {"\t": "tabs"}


class Reading:
    """The records of a file, and how they were read where that was not as its name says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes: dict[str, str] = {}
        self._ignored: dict[str, None] = {}

    def note(self, about: str, text: str) -> None:
        """Keeps what is to be said; of what is about one thing, the first."""
        self._notes.setdefault(about, text)

    def ignore(self, fields: Iterable[str]) -> None:
        """Keeps the names of fields that nobody reads."""
        self._ignored |= dict.fromkeys(fields)

    def records(self) -> Iterator[Record]:
        """The objects of the file, at least one; says the notes behind the last.

        Raises:
            CompareError: names the file and the item.
        """
        number = 0
        for number, value in enumerate(self._values(), start=1):
            if not isinstance(value, dict):
                raise CompareError(f"{self.path}: item {number} must be an object with fields, not {describe(value)}.")
            yield value
        if not number:
            raise CompareError(f"{self.path}: holds no items: it needs at least one.")
        if line := self._line():
            _say(line)

    def _line(self) -> str:
        names = [describe(name)[1:-1] for name in self._ignored]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        ignored = [f"fields that are not read: {', '.join(names[:NAMED])}{more}"] if names else []
        said = "; ".join([*self._notes.values(), *ignored])
        return said and f"{self.path}: {said}."

    def _values(self) -> Iterator[object]:
        kind = self.path.suffix.lower()
        if kind not in SUFFIXES:
            raise unknown_kind(self.path)
        if kind == PARQUET:
            yield from _parquet_rows(self.path)
            return
        encoding = _encoding(self.path)
        if not encoding.startswith("utf-8"):
            self.note("encoding", f"its text is {encoding.upper()}")
        try:
            with self.path.open(encoding=encoding, newline="") as text:
                yield from _table_rows(text, self, TABLES[kind]) if kind in TABLES else _json_values(text, self)
        except OSError as error:
            raise CompareError(f"{self.path}: can't be read: {error.strerror}.") from error


@cache
def _say(line: str) -> None:
    log.warning("%s", line)


def unknown_kind(path: Path) -> CompareError:
    """What is said of a file of no kind in `SUFFIXES`."""
    mend = MENDS.get(path.suffix.lower(), "")
    return CompareError(f"{path}: unknown kind of file: use {', '.join(SUFFIXES)}, or a folder{mend and f'; {mend}'}.")


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, with or without a byte order mark, or in UTF-16; line ends stay as they are.

    Raises:
        CompareError: the file is missing, can't be read, or is in another encoding.
    """
    encoding = _encoding(path)
    try:
        return path.read_bytes().decode(encoding)
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error


def _encoding(path: Path) -> str:
    """UTF-8, with or without a byte order mark, or UTF-16 or UTF-32; a CompareError where a byte is none of it."""
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
            file.seek(0)
            decoder, place = codecs.getincrementaldecoder(encoding)(), 0
            while chunk := file.read(CHUNK):
                pending = len(decoder.getstate()[0])
                decoder.decode(chunk)
                place += len(chunk)
            pending = len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise CompareError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error
    except UnicodeError as error:
        at = place - pending + getattr(error, "start", 0)
        raise CompareError(f"{path}: is not UTF-8 (byte {at}): save it as UTF-8.") from error
    return encoding


def _json_values(text: IO[str], reading: Reading) -> Iterator[object]:
    """What a list holds, an object around one list, or values one after the other."""
    values, lines = _Values(text, reading.path), reading.path.suffix.lower() in LINES
    if lines and not values.peek():
        return
    if values.peek() == "[":
        if lines:
            reading.note("form", "is a JSON list")
        yield from values.listed()
        return
    first = values.next()
    if values.peek():
        if not lines:
            reading.note("form", "is JSON lines")
        yield first
        number = 1
        while values.peek():
            number += 1
            yield values.next(f"item {number}: ")
    elif (found := _wrapped(first)) is not None:
        reading.note("form", f"its items are under {describe(found[0])}")
        yield from found[1]
    elif lines:
        yield first
    else:
        several = ", ".join(map(describe, _lists(first)))
        hint = f" with several: keep one of {several}" if several else ": write [{…}, …], or an object a line"
        raise CompareError(f"{reading.path}: must hold a list of items, not {describe(first)}{hint}.")


def _lists(value: object) -> dict[str, list[object]]:
    pairs = value.items() if isinstance(value, dict) else ()
    lists = {name: each for name, each in pairs if isinstance(each, list)}
    return {name: each for name, each in lists.items() if each and all(isinstance(one, dict) for one in each)}


def _wrapped(value: object) -> tuple[str, list[object]] | None:
    """The one list of objects within an object, or within the only object in it, and what it is called there."""
    while isinstance(value, dict):
        lists = value if list(value.values()) == [[]] else _lists(value)
        if len(lists) == 1:
            return next(iter(lists.items()))
        value = next(iter(value.values())) if len(value) == 1 else None
    return None


class _Values:
    """JSON values of a text, decoded one at a time, so that a file may be of any size."""

    def __init__(self, text: IO[str], path: Path) -> None:
        self._text, self._path, self._decode = text, path, json.JSONDecoder().raw_decode
        self._buffer, self._at = "", 0
        self._line, self._column = 0, 0  # of the buffer's begin

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            while self._at < len(self._buffer):
                if not self._buffer[self._at].isspace():
                    return self._buffer[self._at]
                self._at += 1
            if not self._more():
                return ""

    def listed(self) -> Iterator[object]:
        """The values of the list that begins here, behind which the text must end."""
        number = 0
        self._at += 1
        while self.peek() != "]" or number:
            number += 1
            yield self.next(f"item {number}: ")
            if self.peek() != ",":
                break
            self._at += 1
        if self.peek() != "]":
            raise self._error(json.JSONDecodeError("Expecting ',' delimiter", self._buffer, self._at))
        self._at += 1
        if self.peek():
            raise self._error(json.JSONDecodeError("Extra data", self._buffer, self._at))

    def next(self, where: str = "") -> object:
        """The value that begins here; `where` names it in messages."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._error(error, where) from error
            except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
                raise CompareError(f"{self._path}: {where}is JSON that can't be read: {error}.") from error
            else:
                # A number may go on in what wasn't read yet.
                if end < len(self._buffer) or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        """Reads on, twice as much as is pending, and forgets what was decoded."""
        pending = len(self._buffer) - self._at
        chunk = self._text.read(max(CHUNK, pending)) if pending < LARGEST else ""
        if not chunk:
            return False
        gone = self._buffer[: self._at]
        self._column = len(gone) - gone.rfind("\n") - 1 + (0 if "\n" in gone else self._column)
        self._line += gone.count("\n")
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return True

    def _error(self, error: json.JSONDecodeError, where: str = "") -> CompareError:
        column = error.colno + (self._column if error.lineno == 1 else 0)
        place = f"line {self._line + error.lineno}, column {column}"
        return CompareError(f"{self._path}: {where}is not JSON, or is cut off ({place}: {error.msg}).")


def _table_rows(text: IO[str], reading: Reading, separators: str) -> Iterator[object]:
    """The rows of a table by the names in its first; blank rows and columns without a name are left out."""
    count = 0
    try:
        separator, spaced, declared = _dialect(text.read(CHUNK), separators)
        text.seek(0)
        if separator != separators[0]:
            reading.note("separator", f"its columns are separated by {_CALLED.get(separator, repr(separator))}")
        rows = csv.reader(text, delimiter=separator, skipinitialspace=spaced, strict=True)
        filled = (row for row in islice(rows, declared, None) if any(map(str.strip, row)))
        header = [name.strip() for name in next(filled, [])]
        if twice := [name for name, times in Counter(header).items() if name and times > 1]:
            raise CompareError(f"{reading.path}: two columns have one name: {describe(twice[0])}.")
        for row in filled:
            if any(map(str.strip, row[len(header) :])):
                raise CompareError(
                    f"{reading.path}: item {count + 1} has more cells than the header has names: put a text that holds "
                    f"{_CALLED.get(separator, repr(separator))} into quotes."
                )
            yield {name: cell for name, cell in zip(header, row, strict=False) if name}
            count += 1
        if "" in header:
            reading.note("columns", "columns without a name are not read")
    except csv.Error as error:
        raise CompareError(
            f"{reading.path}: item {count + 1} is not CSV: {error}; double quotes inside a quoted text."
        ) from error


def _dialect(sample: str, separators: str) -> tuple[str, bool, int]:
    """The separator of a table, whether blanks follow it, and how many lines before the header name it.

    Excel may name it in a first line "sep=;". Else it is the one that makes most of the header, and as much of the
    first row.
    """
    if sample.startswith("sep=") and sample[4:5] in separators and sample[5:6] in ("\r", "\n"):
        return sample[4], False, 1

    def parts(separator: str) -> tuple[bool, int]:
        header, row = _first_rows(sample, separator)
        return len(header) > 1 and len(row) == len(header), len(header)

    best = max(separators, key=parts)
    header, _ = _first_rows(sample, best)
    return best, len(header) > 1 and all(name.startswith(" ") for name in header[1:]), 0


def _first_rows(sample: str, separator: str) -> tuple[list[str], list[str]]:
    """The cells of the first two rows that aren't blank, without empty ones at their ends."""
    found: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator):
            while row and not row[-1].strip():
                row.pop()
            found += [row] if row else []
            if len(found) == 2:
                break
    except csv.Error:  # too long for a cell: read in earnest it is named
        pass
    header, row = [*found, [], []][:2]
    return header, row


def _parquet_rows(path: Path) -> Iterator[object]:
    """The rows of a parquet file; a field without a value is left out, and what JSON doesn't know becomes text."""
    import pyarrow
    from pyarrow import parquet

    if not path.is_file():
        raise CompareError(f"{path}: there is no such file.")
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    known = {name: value for name, value in row.items() if value is not None}
                    yield json.loads(json.dumps(known, default=str))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CompareError(f"{path}: is not a parquet file, or is cut off: {' '.join(str(error).split())}.") from error
