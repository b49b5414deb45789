"""Where a run says what it does."""

from __future__ import annotations

from typing import Protocol

from comparisons.experiment.specification import Cell


class Progress(Protocol):
    """Where a run says what it does."""

    def stage(self, text: str) -> None:
        """What is being done now."""

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """A cell has ended, which counts as one: with its shift, None for a baseline, or with why it failed."""


class Silent:
    """A progress display that shows nothing."""

    def stage(self, text: str) -> None:
        """Shows nothing."""

    def advance(self, cells: int) -> None:
        """Shows nothing."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """Shows nothing."""
