"""What stands in for a run's folder in a worker: what is committed there goes to the one that writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from comparisons.experiment.specification import Cell
from comparisons.running.ray_tasks import Known


@dataclass(frozen=True)
class Commit:
    """A cell has ended: its key, result rows and info, as `RunFolder.commit` takes them."""

    cell: str
    rows: list[dict[str, Any]]
    info: dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """Something was chosen on dev: its key and record, as `RunFolder.add_choice` takes them."""

    key: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Notice:
    """What a worker does now, or warns of."""

    text: str
    warning: bool = False


Message = Commit | Chosen | Notice
Send = Callable[[Message], None]


class Mailbox:
    """Reads as a run's folder does, and sends what is written.

    Args:
        known: of the folder.
        send: takes messages to the writer.
    """

    def __init__(self, known: Known, send: Send) -> None:
        self._send, self._done = send, set(known.done)
        self._rows = {cell: [dict(row) for row in rows] for cell, rows in known.rows.items()}
        self._choices = [dict(record) for record in known.choices]

    def done(self, cell: str) -> bool:
        """Whether the cell ended well."""
        return cell in self._done

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a cell of this task, or of the baseline."""
        return self._rows[cell]

    def commit(self, cell: str, rows: Iterable[Mapping[str, Any]], info: Mapping[str, Any]) -> None:
        """Sends a cell's rows and info."""
        kept = [dict(row) for row in rows]
        self._send(Commit(cell, kept, dict(info)))
        if "error" not in info:
            self._done.add(cell)
            self._rows[cell] = kept

    def choice(self, key: str, behavior: str, model: str = "") -> Mapping[str, Any] | None:
        """What was chosen on dev before, None where it wasn't."""
        wanted = (key, behavior, model)
        return next((r for r in self._choices if (r["key"], r["behavior"], r.get("model", "")) == wanted), None)

    def add_choice(self, key: str, record: Mapping[str, Any]) -> None:
        """Sends what was chosen on dev."""
        self._choices.append({"key": key, **record})
        self._send(Chosen(key, dict(record)))


class Telling:
    """A worker's progress: what it does goes to the writer, which counts what has ended by itself."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def stage(self, text: str) -> None:
        """Says what is being done."""
        self._send(Notice(text))

    def advance(self, cells: int) -> None:
        """Says nothing."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """Says nothing: the commit tells."""


class Warnings(logging.Handler):
    """Sends warnings, which would be lost in a worker's log."""

    def __init__(self, send: Send) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(Notice(record.getMessage(), warning=True))
