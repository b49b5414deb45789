"""A run's folder: results appended cell by cell, and a journal that says which cells are whole.

A cell counts once its line stands in `journal.jsonl`; rows that a kill left behind it are cut off on resuming.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.errors import CompareError
from comparisons.files import read_json, write_bytes, write_json

RESULTS, JOURNAL, RUN, CHOICES = "results.jsonl", "journal.jsonl", "run.json", "choices.json"
_NEXT_RESULTS, _NEXT_JOURNAL = f"{RESULTS}.next", f"{JOURNAL}.next"
NOT_REPEATED = "not_repeated"
"""In a cell's info: condition of `--robustness` -> why the cell has no rows under it."""


@dataclass(frozen=True)
class Entry:
    """One cell's line in the journal.

    Attributes:
        cell: its key.
        start, end: its bytes in results.jsonl.
        sha256: of those bytes.
        info: what the summary needs beside the rows; has "error" where the cell failed.
    """

    cell: str
    start: int
    end: int
    sha256: str
    info: Mapping[str, Any]


class RunFolder:
    """Opens or resumes a run.

    Args:
        path: the folder; made if absent.
        digest: hash of the specification; a folder of another one is refused.
        fresh: begin anew, discarding what is there.

    Raises:
        CompareError: the folder can't be written, or holds another run.
    """

    def __init__(self, path: Path, digest: str, fresh: bool = False) -> None:
        from filelock import FileLock, Timeout

        self.path = path
        check_run_folder(path, digest, fresh)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CompareError(f"another process is writing the run in {path}: wait for it or use --out.") from None
        except OSError as error:
            raise CompareError(f"the output folder {path} can't be written: {error.strerror}.") from error
        if fresh:
            for name in (RESULTS, JOURNAL, CHOICES, RUN):
                (path / name).unlink(missing_ok=True)
        self.entries = self._recover()

    def close(self) -> None:
        """Lets other processes have the folder."""
        self._lock.release()

    def _recover(self) -> dict[str, Entry]:
        """Reads the journal, drops what is not whole, and cuts both files to what is."""
        self._finish_rewrite()
        results, journal = self.path / RESULTS, self.path / JOURNAL
        data = results.read_bytes() if results.exists() else b""
        kept: list[bytes] = []
        entries: dict[str, Entry] = {}
        end = 0
        for line in journal.read_bytes().splitlines(keepends=True) if journal.exists() else []:
            entry = _parse_entry(line)
            if entry is None or entry.start != end or hashlib.sha256(data[end : entry.end]).hexdigest() != entry.sha256:
                break
            entries[entry.cell] = entry
            kept.append(line)
            end = entry.end
        _truncate(results, end)
        _truncate(journal, sum(map(len, kept)))
        return entries

    def done(self, cell: str) -> bool:
        """Whether the cell ended well; a failed one is tried again."""
        return cell in self.entries and "error" not in self.entries[cell].info

    def commit(self, cell: str, rows: Iterable[Mapping[str, Any]], info: Mapping[str, Any]) -> None:
        """Appends a cell's rows, then its journal line; each reaches the disk before the next step."""
        data = _lines(rows)
        entry = _entry(cell, (self.path / RESULTS).stat().st_size, data, info)
        _append(self.path / RESULTS, data)
        _append(self.path / JOURNAL, _line(entry))
        self.entries[cell] = entry

    def rewrite(self, changed: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]) -> None:
        """Puts other rows and info in the place of some committed cells'; a kill leaves all of it or nothing.

        Args:
            changed: cell -> its rows and info.
        """
        results, journal, entries = b"", b"", dict[str, Entry]()
        old = (self.path / RESULTS).read_bytes()
        for cell, entry in self.entries.items():
            rows, info = changed.get(cell, (None, entry.info))
            data = old[entry.start : entry.end] if rows is None else _lines(rows)
            entries[cell] = _entry(cell, len(results), data, info)
            results += data
            journal += _line(entries[cell])
        write_bytes(self.path / _NEXT_RESULTS, results)
        # From here on `_finish_rewrite` brings it to its end.
        write_bytes(self.path / _NEXT_JOURNAL, journal)
        self._finish_rewrite()
        self.entries = entries

    def _finish_rewrite(self) -> None:
        """Ends a rewriting that was cut off, or takes back one that had not written everything."""
        results, journal = self.path / _NEXT_RESULTS, self.path / _NEXT_JOURNAL
        if not journal.exists():
            results.unlink(missing_ok=True)
            return
        if results.exists():
            os.replace(results, self.path / RESULTS)
        os.replace(journal, self.path / JOURNAL)

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a committed cell."""
        entry = self.entries[cell]
        with (self.path / RESULTS).open("rb") as file:
            file.seek(entry.start)
            return [json.loads(line) for line in file.read(entry.end - entry.start).splitlines()]

    def choice(self, key: str, behavior: str) -> dict[str, Any] | None:
        """What was chosen on dev before, None where it wasn't."""
        records = (self.read(CHOICES) or {"choices": []})["choices"]
        return next((r for r in records if r["key"] == key and r["behavior"] == behavior), None)

    def add_choice(self, key: str, record: Mapping[str, Any]) -> None:
        """Keeps what was chosen on dev."""
        records = (self.read(CHOICES) or {"choices": []})["choices"]
        self.write(CHOICES, {"choices": [*records, {"key": key, **record}]})

    def write(self, name: str, value: Any) -> None:
        """Writes a JSON file of the run."""
        write_json(self.path / name, value)

    def read(self, name: str) -> Any:
        """A JSON file of the run, None where it isn't there."""
        return read_json(self.path / name, "run") if (self.path / name).exists() else None


def check_run_folder(path: Path, digest: str, fresh: bool = False) -> None:
    """Raises CompareError where a run can't go to this folder; writes nothing."""
    if path.exists() and not path.is_dir():
        raise CompareError(f"the output folder {path} is a file: name another by --out.")
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise CompareError(f"the output folder {path} can't be written: name another by --out.")
    if fresh or not (path / RUN).exists():
        return
    found = read_json(path / RUN, "run")
    if not isinstance(found, dict) or found.get("digest") != digest:
        raise CompareError(
            f"{path} holds a run of another specification: name another folder by --out, or discard it by --fresh."
        )


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows)


def _entry(cell: str, start: int, data: bytes, info: Mapping[str, Any]) -> Entry:
    return Entry(cell, start, start + len(data), hashlib.sha256(data).hexdigest(), dict(info))


def _line(entry: Entry) -> bytes:
    return json.dumps(vars(entry), ensure_ascii=False).encode() + b"\n"


def _parse_entry(line: bytes) -> Entry | None:
    try:
        return Entry(**json.loads(line)) if line.endswith(b"\n") else None
    except (ValueError, TypeError):
        return None


def _truncate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
