"""results.jsonl and journal.jsonl: whole cells are appended, and replaced all at once or not at all.

A cell counts once its line stands in the journal; what a kill or a refused write left behind it is cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.results.journal import Entry, JournalState, read_journal
from comparisons.util.errors import StorageError
from comparisons.util.files import write_bytes

if TYPE_CHECKING:
    from io import FileIO

Rows = Iterable[Mapping[str, Any]]

RESULTS, JOURNAL = "results.jsonl", "journal.jsonl"
NEXT_RESULTS, NEXT_JOURNAL = f"{RESULTS}.next", f"{JOURNAL}.next"


class CellFiles:
    """The cells of a run on disk; one process at a time has them.

    Args:
        path: the run's folder.
        digest: of its specification.

    Attributes:
        entries: the committed cells.

    Every method may raise OSError where the disk refuses.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest
        self.entries: dict[str, Entry] = {}
        self._files: dict[str, FileIO] = {}
        self._ends: dict[str, int] = {}

    def read(self) -> JournalState:
        """What is whole on disk."""
        self._finish_rewrite()
        return read_journal(self.path / RESULTS, self.path / JOURNAL, self.digest)

    def recover(self, found: JournalState) -> None:
        """Leaves both files with what is whole, ready to be appended to."""
        if found.scattered:
            data = (self.path / RESULTS).read_bytes()
            self._replace([(e.cell, data[e.start : e.end], e.info) for e in found.entries])
            return
        self._open(found.ends)
        self.entries = {entry.cell: entry for entry in found.entries}

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()

    def commit(self, cell: str, rows: Rows, info: Mapping[str, Any]) -> None:
        """Appends a cell's rows, then its journal line; each reaches the disk before the next step.

        Raises:
            StorageError: somebody put other files in the place of the run's.
        """
        data = _lines(rows)
        entry = self._entry(cell, self._ends[RESULTS], data, info)
        self._append(RESULTS, data)
        self._append(JOURNAL, entry.line())
        self.entries[cell] = entry

    def rewrite(self, changed: Mapping[str, tuple[Rows, Mapping[str, Any]]]) -> None:
        """Puts other rows and info in the place of some committed cells'; a kill leaves all of it or nothing.

        Args:
            changed: cell -> its rows and info.
        """
        old, cells = (self.path / RESULTS).read_bytes(), []
        for cell, entry in self.entries.items():
            rows, info = changed.get(cell, (None, entry.info))
            cells.append((cell, old[entry.start : entry.end] if rows is None else _lines(rows), info))
        self._replace(cells)

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a committed cell."""
        entry = self.entries[cell]
        with (self.path / RESULTS).open("rb") as file:
            file.seek(entry.start)
            return [json.loads(line) for line in file.read(entry.end - entry.start).splitlines()]

    def _append(self, name: str, data: bytes) -> None:
        """Writes at the end of what is whole: what a refused write left behind it is overwritten."""
        file, end = self._files[name], self._ends[name]
        found = os.fstat(file.fileno())
        if not os.path.samestat(found, (self.path / name).stat()) or found.st_size < end:
            raise StorageError(f"{self.path / name} was replaced or cut under the run: start it again.")
        file.truncate(end)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
        self._ends[name] = end + len(data)

    def _open(self, ends: tuple[int, int]) -> None:
        """Opens both files for appending where what is whole ends."""
        for name, end in zip((RESULTS, JOURNAL), ends, strict=True):
            if name in self._files:
                self._files[name].close()
            self._files[name] = (self.path / name).open("ab", buffering=0)
            self._files[name].truncate(end)
            self._ends[name] = end

    def _replace(self, cells: Sequence[tuple[str, bytes, Mapping[str, Any]]]) -> None:
        """Writes both files anew, cell by cell with its rows and info; a kill leaves all of it or nothing."""
        entries, end = list[Entry](), 0
        for cell, rows, info in cells:
            entries.append(self._entry(cell, end, rows, info))
            end += len(rows)
        lines = b"".join(entry.line() for entry in entries)
        write_bytes(self.path / NEXT_RESULTS, b"".join(rows for _, rows, _ in cells))
        # From here on `_finish_rewrite` brings it to its end.
        write_bytes(self.path / NEXT_JOURNAL, lines)
        self._finish_rewrite()
        self._open((end, len(lines)))
        self.entries = {entry.cell: entry for entry in entries}

    def _finish_rewrite(self) -> None:
        """Ends a rewriting that was cut off, or takes back one that had not written everything."""
        results, journal = self.path / NEXT_RESULTS, self.path / NEXT_JOURNAL
        if not journal.exists():
            results.unlink(missing_ok=True)
            return
        if results.exists():
            os.replace(results, self.path / RESULTS)
        os.replace(journal, self.path / JOURNAL)

    def _entry(self, cell: str, start: int, rows: bytes, info: Mapping[str, Any]) -> Entry:
        return Entry(cell, start, start + len(rows), hashlib.sha256(rows).hexdigest(), dict(info)).sealed(self.digest)


def _lines(rows: Rows) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows)
