"""Rich progress on stderr: the cells as they end, what is being done, of how many cells, how long yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from comparisons.cli import interruption
from comparisons.model.meter import Work
from comparisons.util.table import number
from comparisons.util.terminal import showing_through, stderr

if TYPE_CHECKING:
    from comparisons.experiment.specification import Cell

OTHER_LINES = 6
"""Lines of a terminal that the table of cells leaves to the rest."""


PRIOR = 0.005
"""What the estimate made before the run weighs beside what has been seen of it, as a share of the run."""

TINY = 1e-3
"""The least work that is left of a run, in seconds."""


class Pace:
    """How far a run is and how long yet, by what its work was expected to take and has taken.

    Trainings and questions have a pace each: which of them a machine is better at isn't known before.

    Args:
        work: how far it is.
        clock: the time, in seconds.
    """

    def __init__(self, work: Work, clock: Callable[[], float] = monotonic) -> None:
        self._work, self._clock = work, clock
        self._changed, self._first = clock(), work.done
        self._seen = (work.done - work.trained, work.trained)
        self._trains = False
        # Of questions and of trainings: the seconds that were expected of what was done, and those it took.
        self._done, self._took = [0.0, 0.0], [0.0, 0.0]

    def look(self) -> tuple[float, float]:
        """The share that is done, and the seconds left, at the pace of what has been done."""
        work, now = self._work, self._clock()
        reached = (work.done - work.trained, work.trained)
        if reached != self._seen:
            self._count([new - old for new, old in zip(reached, self._seen, strict=True)], now - self._changed)
            self._seen, self._changed = reached, now
        total = max(TINY, work.expected - work.spared)
        share, weight = min(total, work.done - self._first), PRIOR * total
        pace = (sum(self._took) + weight) / (sum(self._done) + weight)
        each = zip(self._took, self._done, strict=True)
        asking, training = ((took + weight * pace) / (done + weight) for took, done in each)
        left = min(total - share, max(0.0, work.training - work.spared - work.trained))
        seconds = left * training + (total - share - left) * asking + work.after - (now - self._changed)
        return share / (total + work.after), max(0.0, seconds)

    def _count(self, more: Sequence[float], seconds: float) -> None:
        """What was done since the last look; before the first step of a training libraries load, which is no pace."""
        if more[1] > 0 and not self._trains:
            self._trains = True
            return
        for kind, part in enumerate(more):
            self._done[kind] += part
            self._took[kind] += seconds * part / sum(more)


class LeftColumn(ProgressColumn):
    """How long yet, where it is known."""

    pace: Pace | None = None

    def render(self, task: Task) -> Text:
        if self.pace is None:
            return Text("")
        share, seconds = self.pace.look()
        task.completed = share * (task.total or 0.0)
        minutes, seconds = divmod(round(seconds), 60)
        return Text(f"about {minutes}:{seconds:02d} left")


class CellProgress:
    """Shows a run's progress: a table that fills in as cells end, above a bar; without a display, nothing."""

    def __init__(self, live: Live | None, bars: Progress, left: LeftColumn, total: int) -> None:
        self._live, self._bars, self._left, self._total = live, bars, left, total
        self._task = bars.add_task("starting", total=total, cells=f"0/{total}")
        self._done = 0
        self._ended: list[tuple[Cell, str]] = []

    def stage(self, text: str) -> None:
        """What is being done now."""
        self._bars.update(self._task, description=text)

    def watch(self, count: Callable[[], Work | None]) -> Work | None:
        """Goes by the run's work from now on, which is counted into what is returned."""
        work = count() if self._live is not None else None
        self._left.pace = Pace(work) if work is not None else None
        return work

    def advance(self, cells: int) -> None:
        """So many more cells have ended."""
        self._done += cells
        self._bars.update(self._task, cells=f"{self._done}/{self._total}")
        if self._left.pace is None:
            self._bars.advance(self._task, cells)

    def ended(self, cell: Cell, shift: float | None, error: str | None) -> None:
        """A cell has ended."""
        self.advance(1)
        if self._live is None:
            return
        text = f"failed: {error}" if error is not None else number(shift, signed=True)
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
def preparing(text: str) -> Iterator[Callable[[], None]]:
    """What is done before the first cell, and since when; on a terminal, and until what is given is called."""
    console = Console(file=stderr())
    with ExitStack() as shown:
        if console.is_terminal:
            bars = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
            bars.add_task(text, total=None)
            shown.enter_context(_live(console, bars))
        yield shown.close


@contextmanager
def cell_progress(total: int) -> Iterator[CellProgress]:
    """The table and the bar over a run's cells; nothing where stderr is no terminal."""
    console = Console(file=stderr())
    left = LeftColumn()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[cells]} cells"),
        TimeElapsedColumn(),
        left,
        console=console,
    )
    # A run opens its display when its folder is its own, and --fresh has done its work.
    interruption.discarded()
    if not console.is_terminal:
        yield CellProgress(None, bars, left, total)
        return
    with _live(console, bars) as live:
        yield CellProgress(live, bars, left, total)


@contextmanager
def _live(console: Console, bars: Progress) -> Iterator[Live]:
    """A display below the program's own lines, which goes when the context ends: what came of it takes its place."""
    live = Live(bars, console=console, transient=True, refresh_per_second=4, redirect_stderr=False)
    with live, showing_through(FileProxy(console, console.file)):
        yield live
