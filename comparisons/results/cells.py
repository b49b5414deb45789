"""The cells of a run on disk: a file a cell, whole or not there, of which results.jsonl is made.

What was chosen on dev is kept in the same way, a file a choice, of which choices.json is made.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, TypeAdapter, ValidationError

from comparisons.results.identity import CellId
from comparisons.results.schema import CellInfo, ResultRow
from comparisons.util.errors import CompareError, StorageError, refusal
from comparisons.util.files import json_digest, read_sealed, write_parts, write_sealed

Row = Mapping[str, Any]

CELLS, CHOSEN = "cells", "choices"
RESULTS, CHOICES = "results.jsonl", "choices.json"
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class CellEntry:
    """A committed cell, without its rows: the first line of its file.

    Attributes:
        run: the digest of its run's specification.
        written: when its rows were first written, in nanoseconds: cells stand in this order in results.jsonl.
        info: what the summary needs beside the rows; has "error" where the cell failed.
    """

    run: str
    written: int
    cell: CellId
    info: Annotated[Mapping[str, Any], AfterValidator(TypeAdapter(CellInfo).validate_python)]


@dataclass(frozen=True)
class _Chosen:
    """A file of what was chosen on dev."""

    run: str
    written: int
    choice: Mapping[str, Any]


@dataclass(frozen=True)
class CellsOnDisk:
    """What is whole in a run's folder.

    Attributes:
        entries: by the cells' texts, in the order in which they were written.
        choices: what was chosen on dev, in that order.
        damaged: files that are not whole, with what to call each.
        foreign: whether files are there, and all of them are of another run.
    """

    entries: dict[str, CellEntry]
    choices: list[Mapping[str, Any]]
    damaged: Mapping[Path, str]
    foreign: bool


class CellStore:
    """The cells and choices in a run's folder; several processes may write different ones at a time.

    Args:
        run: the digest of its specification, which every file holds.

    Attributes:
        entries: the committed cells, by their texts.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path, self.run = path, run
        self.entries: dict[str, CellEntry] = {}
        self._choices: list[Mapping[str, Any]] = []
        self._last = 0

    def load(self, cells: Iterable[CellId] | None = None) -> CellsOnDisk:
        """Reads what is whole, of all cells or of some."""
        state = read_cells(self.path, self.run, cells)
        self.entries, self._choices = state.entries, state.choices
        return state

    def refresh(self, cell: CellId) -> bool:
        """Reads a cell that another process may have written; whether it is another than was known."""
        path = cell_path(self.path, cell)
        try:
            entry = _entry(path, self.run)
        except _DAMAGE:
            return False
        known, self.entries[str(cell)] = self.entries.get(str(cell)), entry
        return entry != known

    def done(self, cell: str) -> bool:
        """Whether the cell ended well; a failed one is tried again."""
        return cell in self.entries and "error" not in self.entries[cell].info

    def commit(self, cell: CellId, rows: Iterable[Row], info: Mapping[str, Any]) -> None:
        """Writes a cell's file: its rows, and what the summary needs beside them.

        Raises:
            StorageError: the disk refuses, or somebody took the run's folder away.
        """
        self._write(CellEntry(self.run, self._now(), cell, dict(info)), _lines(rows))

    def amend(self, cell: str, info: Mapping[str, Any], rows: Iterable[Row] | None = None) -> None:
        """Writes a committed cell's file anew, in its place among the others: with more info, and with other rows.

        Raises:
            StorageError: as for `commit`.
        """
        entry = self.entries[cell]
        kept = self._bytes(cell) if rows is None else _lines(rows)
        self._write(replace(entry, info={**entry.info, **info}), kept)

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a committed cell."""
        return [json.loads(line) for line in self._bytes(cell).splitlines()]

    def choice(self, key: str, behavior: str, model: str = "") -> Mapping[str, Any] | None:
        """What was chosen on dev before, None where it wasn't; the model is told where a run has several."""
        return next((r for r in self.choices(behavior, model) if r["key"] == key), None)

    def choices(self, behavior: str, model: str = "") -> tuple[Mapping[str, Any], ...]:
        """Everything that was chosen on dev for a behavior."""
        return tuple(r for r in self._choices if (r["behavior"], r.get("model", "")) == (behavior, model))

    def add_choice(self, key: str, record: Mapping[str, Any]) -> None:
        """Keeps what was chosen on dev."""
        record = {"key": key, **record}
        name = json_digest([key, record["behavior"], record.get("model", "")])[:16]
        with self.writing():
            content = _sealed(_Chosen(self.run, self._now(), record), b"")
            write_parts(self.path / CHOSEN / f"{name}{_SUFFIX}", [content])
        self._choices.append(record)

    def derive(self) -> None:
        """Makes results.jsonl and choices.json of the cells and choices."""
        with self.writing():
            write_parts(self.path / RESULTS, (self._bytes(str(each.cell)) for each in _ordered(self.entries.values())))
            if self._choices:
                write_sealed(self.path / CHOICES, {"choices": self._choices})
            else:
                (self.path / CHOICES).unlink(missing_ok=True)

    def _write(self, entry: CellEntry, rows: bytes) -> None:
        with self.writing():
            # What was made of the cells before would not be theirs.
            (self.path / RESULTS).unlink(missing_ok=True)
            write_parts(cell_path(self.path, entry.cell), [_sealed(entry, rows)])
        self.entries[str(entry.cell)] = entry

    def _bytes(self, cell: str) -> bytes:
        path = cell_path(self.path, self.entries[cell].cell)
        try:
            return _opened(path, self.run)[1]
        except _DAMAGE as error:
            raise StorageError(f"{path} was replaced or changed under the run: start it again.") from error

    def _now(self) -> int:
        """A time later than any before it, whatever the clock does."""
        known = max((entry.written for entry in self.entries.values()), default=0)
        self._last = max(time.time_ns(), self._last + 1, known + 1)
        return self._last

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Where the disk refuses, the error is a StorageError that names the run."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"the run in {self.path} can't be written: {refusal(error)}") from error


def cell_path(run: Path, cell: CellId) -> Path:
    """Where a cell's file is."""
    return run / CELLS / f"{cell.digest}{_SUFFIX}"


def read_cells(run: Path, digest: str | None, cells: Iterable[CellId] | None = None) -> CellsOnDisk:
    """Reads a run's cells and choices and checks each by its checksum; changes nothing.

    Args:
        digest: of its specification; None where nobody knows it, then whose the files are isn't checked.
        cells: which; None for all. Choices are all read.
    """
    entries, choices, damaged, strangers = list[CellEntry](), list[_Chosen](), dict[Path, str](), list[Path]()
    paths = (run / CELLS).glob(f"*{_SUFFIX}") if cells is None else (cell_path(run, cell) for cell in cells)
    for path in sorted([*(path for path in paths if path.exists()), *(run / CHOSEN).glob(f"*{_SUFFIX}")]):
        try:
            if path.parent.name == CHOSEN:
                choices.append(_CHOSEN.validate_json(_opened(path, digest)[0]))
            else:
                entries.append(_entry(path, digest))
        except _OfAnotherRun:
            strangers.append(path)
        except _DAMAGE:
            damaged[path] = f"{path.parent.name}/{path.name}"
    return CellsOnDisk(
        entries={str(entry.cell): entry for entry in _ordered(entries)},
        choices=[each.choice for each in sorted(choices, key=lambda each: each.written)],
        damaged=damaged | {path: f"{path.parent.name}/{path.name}, which is of another run," for path in strangers},
        foreign=bool(strangers) and not entries and not choices,
    )


def _ordered(entries: Iterable[CellEntry]) -> list[CellEntry]:
    """As their rows stand in results.jsonl."""
    return sorted(entries, key=lambda entry: (entry.written, str(entry.cell)))


def _entry(path: Path, run: str | None) -> CellEntry:
    entry = _ENTRY.validate_json(_opened(path, run)[0])
    if path.stem != entry.cell.digest:
        raise ValueError(f"it is the file of {entry.cell}")
    return entry


def results_fault(run: Path, state: CellsOnDisk) -> str | None:
    """What is the matter with results.jsonl where it is not what the cells make; None where it is, or isn't there."""
    try:
        with (run / RESULTS).open("rb") as file:
            for entry in state.entries.values():
                _, rows = _opened(cell_path(run, entry.cell), None)
                if file.read(len(rows)) != rows:
                    break
            else:
                if not file.read(1):
                    return None
    except FileNotFoundError:
        return None
    return f"{run}: {RESULTS} is damaged, or a cell's file is gone: the run's command makes it again."


def read_rows(
    run: Path, evaluations: Collection[str] | None = None, cells: Collection[str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The rows of some cells and evaluations, by cell, or of all; lines of other evaluations are not parsed.

    Raises:
        CompareError: a cell's file is damaged, or a line is no row.
    """
    marks = [f'"evaluation": "{name}"'.encode() for name in evaluations] if evaluations is not None else [b""]
    state, rows_of = read_cells(run, known_digest(run)), dict[str, list[dict[str, Any]]]()
    if state.damaged:
        raise CompareError(damage(run, next(iter(state.damaged.values()))))
    for cell, entry in state.entries.items():
        if cells is not None and cell not in cells:
            continue
        path = cell_path(run, entry.cell)
        for number, line in enumerate(_opened(path, None)[1].splitlines(), 1):
            if any(mark in line for mark in marks):
                try:
                    row = cast(dict[str, Any], _ROW.validate_json(line))
                except ValidationError as error:
                    raise CompareError(f"{path}, row {number}: is no row as this program writes them.") from error
                if evaluations is None or row["evaluation"] in evaluations:
                    rows_of.setdefault(row["cell"], []).append(row)
    return rows_of


def damage(run: Path, name: str) -> str:
    """Says that a cell's file is damaged."""
    return f"{run}: {name} is damaged: the run's command runs its cell again."


def known_digest(run: Path) -> str | None:
    """The digest in run.json; None where there is none, or where it is damaged."""
    try:
        facts = read_sealed(run / "run.json", "run")
    except CompareError:
        return None
    digest = facts.get("digest") if isinstance(facts, dict) else None
    return digest if isinstance(digest, str) else ""


def _lines(rows: Iterable[Row]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows)


_ENTRY, _CHOSEN, _ROW = TypeAdapter(CellEntry), TypeAdapter(_Chosen), TypeAdapter(ResultRow)


def _sealed(head: CellEntry | _Chosen, rows: bytes) -> bytes:
    """A file's content: a line of JSON that begins with the checksum of all that follows it, and the rows."""
    content = json.dumps(asdict(head), ensure_ascii=False).encode()[1:] + b"\n" + rows
    return b'{"sha256": "%s", %s' % (hashlib.sha256(content).hexdigest().encode(), content)


_HEAD = re.compile(rb'\{"sha256": "([0-9a-f]{64})", "run": "([^"]*)", ')
_DAMAGE = (OSError, ValueError)
"""What reading a file raises that is not as this program wrote it."""


class _OfAnotherRun(ValueError):
    """The file is whole, and of another run."""


def _opened(path: Path, run: str | None) -> tuple[bytes, bytes]:
    """A file's first line and its rows, checked; raises one of `_DAMAGE`."""
    data = path.read_bytes()
    match = _HEAD.match(data)
    if match is None or hashlib.sha256(data[match.end(1) + 3 :]).hexdigest().encode() != match[1]:
        raise ValueError("its checksum differs")
    if run is not None and match[2].decode() != run:
        raise _OfAnotherRun(run)
    head, _, rows = data.partition(b"\n")
    return head, rows
