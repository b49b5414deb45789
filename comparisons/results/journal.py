"""The journal of a run: which bytes of results.jsonl are whose cell's, under checksums of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.util.files import json_digest


@dataclass(frozen=True)
class Entry:
    """One cell's line in the journal.

    Attributes:
        cell: its key.
        start, end: its bytes in results.jsonl.
        sha256: of those bytes.
        info: what the summary needs beside the rows; has "error" where the cell failed.
        check: hash of the run's specification and of all the above; empty in a journal of an earlier version.
    """

    cell: str
    start: int
    end: int
    sha256: str
    info: Mapping[str, Any]
    check: str = ""

    def sealed(self, digest: str) -> Entry:
        """With its check, in a run of this specification."""
        return replace(self, check=self._check(digest))

    @property
    def size(self) -> int:
        """Bytes of its rows."""
        return self.end - self.start

    def belongs(self, digest: str) -> bool:
        """Whether it is unchanged and of the run of this specification."""
        return self.check in ("", self._check(digest))

    def line(self) -> bytes:
        """As the journal holds it."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"

    def _check(self, digest: str) -> str:
        plain = json.loads(json.dumps({**asdict(self), "check": digest}))
        return json_digest(plain)


@dataclass(frozen=True)
class JournalState:
    """What is whole in a journal and its results.

    Attributes:
        entries: of the whole cells, in their order; the last one of a cell that was run again.
        ends: where the last whole cell ends, in the results and in the journal.
        damaged: names of what is not whole and was not just cut off.
        unfinished: whether something at the end is of no whole cell, as a kill leaves it.
        scattered: whether something is to be left out before the last whole cell.
        foreign: whether lines are there and all of them are of another run, or changed.
    """

    entries: tuple[Entry, ...]
    ends: tuple[int, int]
    damaged: tuple[str, ...]
    unfinished: bool
    scattered: bool
    foreign: bool


def read_journal(results: Path, journal: Path, digest: str | None) -> JournalState:
    """Reads both files and finds what is whole; changes nothing.

    Args:
        results: results.jsonl, absent in a new run.
        journal: journal.jsonl, the same.
        digest: of the run's specification; None where nobody knows it, then whose the lines are isn't checked.
    """
    data = results.read_bytes() if results.exists() else b""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    whole: dict[str, Entry] = {}
    damaged: list[str] = []
    parsed = strangers = place = end = journal_end = 0
    scattered = False
    for number, line in enumerate(lines, 1):
        before, place = place, place + len(line)
        entry = _parse(line)
        parsed += entry is not None
        if entry is not None and digest is not None and not entry.belongs(digest):
            strangers, entry = strangers + 1, None
        if entry is None:
            if line.endswith(b"\n") or number < len(lines):
                damaged.append(f"line {number} of {journal.name}")
        elif hashlib.sha256(data[entry.start : entry.end]).hexdigest() != entry.sha256:
            damaged.append(f"the cell {entry.cell}")
        else:
            earlier = whole.pop(entry.cell, None)
            scattered |= entry.start != end or journal_end != before or (earlier is not None and earlier.size > 0)
            whole[entry.cell], end, journal_end = entry, entry.end, place
    return JournalState(
        entries=tuple(whole.values()),
        ends=(end, journal_end),
        damaged=tuple(damaged),
        unfinished=len(data) > end or place > journal_end,
        scattered=scattered,
        foreign=0 < parsed == strangers,
    )


def _parse(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    places = isinstance(entry.start, int) and isinstance(entry.end, int) and 0 <= entry.start <= entry.end
    return entry if places and line.endswith(b"\n") else None
