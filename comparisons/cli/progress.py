"""Rich progress on stderr: what is being done, of how many cells, how long yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from comparisons.cli.interrupting import interruption


class CellProgress:
    """Shows a run's progress."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._task = bars.add_task("starting", total=total)

    def stage(self, text: str) -> None:
        """What is being done now."""
        self._bars.update(self._task, description=text)

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""
        self._bars.advance(self._task, cells)


@contextmanager
def cell_progress(total: int) -> Iterator[CellProgress]:
    """A bar over a run's cells; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    # A run opens its display when its folder is its own, and --fresh has done its work.
    interruption.discarded()
    with bars:
        yield CellProgress(bars, total)
