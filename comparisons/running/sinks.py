"""Where a run's rows go, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from comparisons.experiment.specification import Cell

Row = Mapping[str, Any]


class Progress(Protocol):
    """Where a run says what it does."""

    def stage(self, text: str) -> None:
        """What is being done now."""

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """A cell has ended, which counts as one: with its shift, None for a baseline, or with why it failed."""


class ResultSink(Protocol):
    """Where rows go, and what was there before: a run's folder, or what stands in for it."""

    def done(self, cell: str) -> bool:
        """Whether the cell ended well."""

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a cell that ended well."""

    def commit(self, cell: str, rows: Iterable[Row], info: Row) -> None:
        """Keeps a cell's rows and what the summary needs beside them."""

    def choice(self, key: str, behavior: str, model: str = "") -> Row | None:
        """What was chosen on dev before, None where it wasn't."""

    def add_choice(self, key: str, record: Row) -> None:
        """Keeps what was chosen on dev."""


class Silent:
    """A progress display that shows nothing."""

    def stage(self, text: str) -> None:
        """Shows nothing."""

    def advance(self, cells: int) -> None:
        """Shows nothing."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """Shows nothing."""
