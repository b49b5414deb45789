"""Rich progress on stderr: the cells as they end, what is being done, of how many cells, how long yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from comparisons.cli.interrupting import interruption
from comparisons.util.terminal import showing_through, stderr

if TYPE_CHECKING:
    from comparisons.experiment.specification import Cell

OTHER_LINES = 6
"""Lines of a terminal that the table of cells leaves to the rest."""


class CellProgress:
    """Shows a run's progress: a table that fills in as cells end, above a bar; without a display, nothing."""

    def __init__(self, live: Live | None, bars: Progress, total: int) -> None:
        self._live, self._bars = live, bars
        self._task = bars.add_task("starting", total=total)
        self._ended: list[tuple[Cell, str]] = []

    def stage(self, text: str) -> None:
        """What is being done now."""
        self._bars.update(self._task, description=text)

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""
        self._bars.advance(self._task, cells)

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """A cell has ended."""
        self.advance(1)
        if self._live is None:
            return
        text = f"failed: {error}" if error is not None else "–" if shift is None else f"{shift:+.3f}"
        self._ended.append((cell, text))
        room = max(1, self._live.console.height - OTHER_LINES)
        self._live.update(Group(self._table(room), self._bars))

    def _table(self, room: int) -> Table:
        """The last cells, as many as there is room for."""
        shown = self._ended[-room:]
        several = len({cell.behavior for cell, _ in self._ended}) > 1
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=False)
        for title in (*(["behavior"] if several else []), "method", "direction", "strength"):
            side: Literal["left", "right"] = "right" if title == "strength" else "left"
            # A reason for a failure gives way to what it is about.
            table.add_column(title, no_wrap=True, overflow="ellipsis", justify=side, min_width=len(title) + 4)
        table.add_column("shift", no_wrap=True, overflow="ellipsis")
        for cell, text in shown:
            place = (cell.label, cell.direction or "–", f"{cell.strength:g}" if cell.elements else "–")
            cells = (*((cell.behavior,) if several else ()), *place, text)
            table.add_row(*map(Text, cells), style="red" if text.startswith("failed") else None)
        if len(shown) < len(self._ended):
            table.caption = f"{len(self._ended) - len(shown)} cells above"
        return table


@contextmanager
def cell_progress(total: int) -> Iterator[CellProgress]:
    """The table and the bar over a run's cells; nothing where stderr is no terminal."""
    console = Console(file=stderr())
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    # A run opens its display when its folder is its own, and --fresh has done its work.
    interruption.discarded()
    if not console.is_terminal:
        yield CellProgress(None, bars, total)
        return
    # It goes when the run has ended: the table of results takes its place.
    live = Live(bars, console=console, transient=True, refresh_per_second=4, redirect_stderr=False)
    with live, showing_through(FileProxy(console, console.file)):
        yield CellProgress(live, bars, total)
