"""Where a run says what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from comparisons.experiment.specification import Cell
from comparisons.model.meter import Work


class Progress(Protocol):
    """Where a run says what it does."""

    def stage(self, text: str) -> None:
        """What is being done now."""

    def watch(self, count: Callable[[], Work | None]) -> Work | None:
        """Where it wants to be told how far the run is; None where nobody looks, and nothing needs to be counted.

        Args:
            count: counts the work of the run, which takes a moment; None where one can't say.
        """

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """A cell has ended, which counts as one: with its shift, None for a baseline, or with why it failed."""


class Silent:
    """A progress display that shows nothing."""

    def stage(self, text: str) -> None:
        """Shows nothing."""

    def watch(self, count: Callable[[], Work | None]) -> Work | None:
        """Looks at nothing."""
        return None

    def advance(self, cells: int) -> None:
        """Shows nothing."""

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """Shows nothing."""
