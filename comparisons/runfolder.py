"""A run's folder: results appended cell by cell, and a journal that says which cells are whole.

A cell counts once its line stands in `journal.jsonl`; rows that a kill left behind it are cut off on resuming.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.errors import CompareError, StorageError, refusal
from comparisons.files import read_sealed, remove_leftovers, write_bytes, write_sealed
from comparisons.journal import Entry, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

RESULTS, JOURNAL, RUN, CHOICES, SUMMARY = "results.jsonl", "journal.jsonl", "run.json", "choices.json", "summary.json"
_NEXT_RESULTS, _NEXT_JOURNAL = f"{RESULTS}.next", f"{JOURNAL}.next"
LOCK, _CHOICE = ".lock", "choice "
NOT_REPEATED = "not_repeated"
"""In a cell's info: condition of `--robustness` -> why the cell has no rows under it."""

log = logging.getLogger(__name__)


class RunFolder:
    """Opens or resumes a run.

    Args:
        path: the folder; made if absent.
        digest: hash of the specification; a folder of another one is refused.
        fresh: begin anew, discarding what is there.
        wait: whether to wait for another process that writes the same run; it is refused otherwise.

    Raises:
        CompareError: another process writes the folder, or it holds another run.
        StorageError: it can't be written.
    """

    def __init__(self, path: Path, digest: str, fresh: bool = False, wait: bool = False) -> None:
        self.path, self.digest = path, digest
        check_run_folder(path, digest, fresh)
        with self._writing():
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path, wait)
        self._files: dict[str, FileIO] = {}
        self._ends: dict[str, int] = {}
        try:
            # While this one waited the other may have begun another run here.
            check_run_folder(path, digest, fresh)
            with self._writing():
                if fresh:
                    # run.json last: until then the folder belongs to the run that is being discarded.
                    for name in (_NEXT_JOURNAL, _NEXT_RESULTS, SUMMARY, RESULTS, JOURNAL, CHOICES, RUN):
                        (path / name).unlink(missing_ok=True)
                remove_leftovers(path)
                self.entries = self._recover()
                self._restore_choices()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets other processes have the folder."""
        for file in self._files.values():
            file.close()
        self._lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"the run in {self.path} can't be written: {refusal(error)}") from error

    def _recover(self) -> dict[str, Entry]:
        """Reads the journal, drops what is not whole, and leaves both files with what is."""
        self._finish_rewrite()
        results, journal = self.path / RESULTS, self.path / JOURNAL
        for fault in run_faults(self.path):
            log.warning("%s", fault)
        found = read_journal(results, journal, self.digest)
        if found.foreign and _known_digest(self.path) != self.digest:
            raise CompareError(
                f"{self.path} holds cells of another run, whose {RUN} is lost: name another folder by --out, or "
                "discard it by --fresh."
            )
        if found.damaged or found.unfinished:
            # Until the cells have run again there is no finished run here.
            (self.path / SUMMARY).unlink(missing_ok=True)
        if found.scattered:
            data = results.read_bytes()
            return self._replace([(e.cell, data[e.start : e.end], e.info) for e in found.entries])
        self._open(found.ends)
        return {entry.cell: entry for entry in found.entries}

    def _open(self, ends: tuple[int, int]) -> None:
        """Opens both files for appending where what is whole ends."""
        for name, end in zip((RESULTS, JOURNAL), ends, strict=True):
            if name in self._files:
                self._files[name].close()
            self._files[name] = (self.path / name).open("ab", buffering=0)
            self._files[name].truncate(end)
            self._ends[name] = end

    def _replace(self, cells: Sequence[tuple[str, bytes, Mapping[str, Any]]]) -> dict[str, Entry]:
        """Writes both files anew, cell by cell with its rows and info; a kill leaves all of it or nothing."""
        entries, end = list[Entry](), 0
        for cell, rows, info in cells:
            entries.append(self._entry(cell, end, rows, info))
            end += len(rows)
        lines = b"".join(entry.line() for entry in entries)
        write_bytes(self.path / _NEXT_RESULTS, b"".join(rows for _, rows, _ in cells))
        # From here on `_finish_rewrite` brings it to its end.
        write_bytes(self.path / _NEXT_JOURNAL, lines)
        self._finish_rewrite()
        self._open((end, len(lines)))
        return {entry.cell: entry for entry in entries}

    def _finish_rewrite(self) -> None:
        """Ends a rewriting that was cut off, or takes back one that had not written everything."""
        results, journal = self.path / _NEXT_RESULTS, self.path / _NEXT_JOURNAL
        if not journal.exists():
            results.unlink(missing_ok=True)
            return
        if results.exists():
            os.replace(results, self.path / RESULTS)
        os.replace(journal, self.path / JOURNAL)

    def _entry(self, cell: str, start: int, rows: bytes, info: Mapping[str, Any]) -> Entry:
        return Entry(cell, start, start + len(rows), hashlib.sha256(rows).hexdigest(), dict(info)).sealed(self.digest)

    def done(self, cell: str) -> bool:
        """Whether the cell ended well; a failed one is tried again."""
        return cell in self.entries and "error" not in self.entries[cell].info

    def commit(self, cell: str, rows: Iterable[Mapping[str, Any]], info: Mapping[str, Any]) -> None:
        """Appends a cell's rows, then its journal line; each reaches the disk before the next step.

        Raises:
            StorageError: the disk refuses, or somebody took the run's files away.
        """
        data = _lines(rows)
        entry = self._entry(cell, self._ends[RESULTS], data, info)
        with self._writing():
            self._append(RESULTS, data)
            self._append(JOURNAL, entry.line())
        self.entries[cell] = entry

    def rewrite(self, changed: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]) -> None:
        """Puts other rows and info in the place of some committed cells'; a kill leaves all of it or nothing.

        Args:
            changed: cell -> its rows and info.
        """
        with self._writing():
            old, cells = (self.path / RESULTS).read_bytes(), []
            for cell, entry in self.entries.items():
                rows, info = changed.get(cell, (None, entry.info))
                cells.append((cell, old[entry.start : entry.end] if rows is None else _lines(rows), info))
            self.entries = self._replace(cells)

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

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a committed cell."""
        entry = self.entries[cell]
        with (self.path / RESULTS).open("rb") as file:
            file.seek(entry.start)
            return [json.loads(line) for line in file.read(entry.end - entry.start).splitlines()]

    def choice(self, key: str, behavior: str) -> Mapping[str, Any] | None:
        """What was chosen on dev before, None where it wasn't."""
        return next((r for r in self._choices() if r["key"] == key and r["behavior"] == behavior), None)

    def add_choice(self, key: str, record: Mapping[str, Any]) -> None:
        """Keeps what was chosen on dev: in the journal, of which choices.json is a copy for readers."""
        self.commit(f"{_CHOICE}{record['behavior']} {key}", [], {"key": key, **record})
        self.write(CHOICES, {"choices": self._choices()})

    def _choices(self) -> list[Mapping[str, Any]]:
        return [entry.info for cell, entry in self.entries.items() if cell.startswith(_CHOICE)]

    def _restore_choices(self) -> None:
        """Brings choices.json and the journal's choices together where one of them was damaged or is behind."""
        try:
            written = (self.read(CHOICES) or {"choices": []})["choices"]
        except CompareError:
            (self.path / CHOICES).unlink()
            written = []
        lost = [record for record in written if record not in self._choices()]
        for record in lost:
            self.add_choice(record["key"], {name: value for name, value in record.items() if name != "key"})
        if not lost and self._choices() != written:
            self.write(CHOICES, {"choices": self._choices()})

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON file of the run, with a checksum of its content."""
        with self._writing():
            write_sealed(self.path / name, value)

    def read(self, name: str) -> Any:
        """A JSON file of the run, None where it isn't there."""
        return read_sealed(self.path / name, "run") if (self.path / name).exists() else None


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows)


def check_run_folder(path: Path, digest: str, fresh: bool = False) -> None:
    """Writes nothing.

    Raises:
        CompareError: a run can't go to this folder.
        StorageError: nobody may write there.
    """
    if path.exists() and not path.is_dir():
        raise CompareError(f"the output folder {path} is a file: name another by --out.")
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise CompareError(f"the output folder {path} can't be written, {existing} is a file: name another by --out.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(f"the output folder {path} can't be written: name another by --out.")
    if fresh:
        return
    # Where run.json is damaged, the cells' own checks still tell what belongs to this command.
    if _known_digest(path) not in (None, digest):
        raise CompareError(
            f"{path} holds a run of another specification: name another folder by --out, or discard it by --fresh."
        )


def run_faults(path: Path) -> list[str]:
    """What is damaged in a run's folder, one line each; changes nothing."""
    found = []
    for name in (RUN, CHOICES, SUMMARY):
        try:
            if (path / name).exists():
                read_sealed(path / name, "run")
        except CompareError as error:
            found.append(str(error))
    journal = read_journal(path / RESULTS, path / JOURNAL, _known_digest(path))
    found += [f"{path}: {name} is damaged: the run's command runs it again." for name in journal.damaged]
    if journal.unfinished and (path / SUMMARY).exists():
        found.append(f"{path}: the last rows are cut off: the run's command runs their cell again.")
    return found


def _known_digest(path: Path) -> str | None:
    """The digest in run.json; None where there is none, or where it is damaged."""
    try:
        found = read_sealed(path / RUN, "run")
    except CompareError:
        return None
    digest = found.get("digest") if isinstance(found, dict) else None
    return digest if isinstance(digest, str) else ""


def _locked(path: Path, wait: bool) -> Any:
    from filelock import FileLock, Timeout

    # The system frees the lock of a process that died, so there are no stale ones.
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise CompareError(f"another process is writing the run in {path}: wait for it or use --out.") from None
        log.warning("another process is writing the run in %s: waiting for it.", path)
        lock.acquire()
    return lock
