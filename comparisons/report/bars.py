"""Shifts as bars on an axis of what could be reached, so that what is small looks small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from comparisons.report.panels import DIRECTIONS, Panel, label
from comparisons.report.table import broken_text, describe
from comparisons.results.contrasts import between
from comparisons.results.findings import claim, claimed, intended, is_broken, ranked
from comparisons.results.schema import Contrast
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import GREY

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BAND = "#c4c4c4"
"""Of what random directions do, behind the bars, and of controls."""

CONTROLS = "#e4e4e4"
"""Of what controls do."""

MOST = 16
"""Bars of a direction; of more cells there is the furthest of each method."""


@dataclass(frozen=True)
class Bar:
    """A cell's shift.

    Attributes:
        name: what stands beside it.
        row: the cell.
        ties: for each bracket of its group where it stands in it: "first", "inner", "last", or "" for outside.
    """

    name: str
    row: SummaryRow
    ties: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is a shift to draw."""
        return self.row.shift is not None and not is_broken(self.row)

    @property
    def text(self) -> str:
        """Its value, or why there is none."""
        if self.usable:
            return claimed(self.row)
        return "failed" if self.row.failed else broken_text(self.row) if is_broken(self.row) else "no number"

    @property
    def tip(self) -> str:
        """The value with what stands behind it."""
        row = self.row
        counts = f", {row.n_items} questions" if row.n_items is not None else ""
        counts += f" of {row.n_clusters} clusters" if row.n_clusters not in (None, row.n_items) else ""
        return f"{describe(row)}: {self.text}{counts}"

    @property
    def interval(self) -> Sequence[float] | None:
        """That of the value."""
        return claim(self.row)

    @property
    def random(self) -> Sequence[float] | None:
        """Where 95% of random vectors in the place of the cell's moved the behavior, and their median."""
        return self.row.matched_shifts or self.row.random_shifts


@dataclass(frozen=True)
class Group:
    """The bars of a direction, furthest first.

    Attributes:
        direction: "pos" or "neg".
        bars: of methods.
        controls: from where to where the intervals of controls reach; None without controls.
    """

    direction: str
    bars: tuple[Bar, ...]
    controls: tuple[float, float] | None

    @property
    def title(self) -> str:
        """What is wanted."""
        return DIRECTIONS[self.direction][2]

    @property
    def color(self) -> str:
        """That of its bars."""
        return DIRECTIONS[self.direction][0]


@dataclass(frozen=True)
class ReachPanel(Panel):
    """The shifts of one behavior, from as low as could be reached to as high.

    Attributes:
        groups: of the directions.
        low, high: the shifts at which p_match would be 0 and 1.
    """

    groups: tuple[Group, ...]
    low: float
    high: float

    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False
    flows: ClassVar[bool] = True
    x_label: ClassVar[str] = "shift of p_match, from what could be reached below to what could be above; 95% interval"

    @property
    def columns(self) -> int:
        return 1

    @property
    def height(self) -> float:
        return 0.9 + 0.26 * sum(len(group.bars) + 1 for group in self.groups)

    @property
    def legend_rows(self) -> int:
        return len(self.legend)

    def place(self, shift: float) -> float:
        """Where a shift stands on the axis, in percent of it."""
        share = (shift - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def draw(self, axes: Axes) -> None:
        top = 0.0
        for group in self.groups:
            self._group(axes, group, top)
            top += len(group.bars) + 1
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_xlim(self.low, self.high)
        axes.set_ylim(top - 0.5, -0.6)
        lines = [(bar.name, place) for place, bar in self._lines()]
        axes.set_yticks([place for _, place in lines], [name for name, _ in lines])
        axes.tick_params(axis="y", length=0)

    def _lines(self) -> Iterator[tuple[float, Bar]]:
        top = 0
        for group in self.groups:
            yield from enumerate(group.bars, top + 1)
            top += len(group.bars) + 1

    def _group(self, axes: Axes, group: Group, top: float) -> None:
        axes.text(self.low, top, group.title, fontsize=8, fontweight="bold", va="center")
        if group.controls is not None:
            low, high = group.controls
            axes.barh(top + (len(group.bars) + 1) / 2, high - low, left=low, height=len(group.bars), color=CONTROLS)
        for place, bar in enumerate(group.bars):
            self._bar(axes, group, bar, top + 1 + place)

    def _bar(self, axes: Axes, group: Group, bar: Bar, height: float) -> None:
        if not bar.usable or bar.row.shift is None:
            axes.annotate(bar.text, (0, height), (4, 0), textcoords="offset points", va="center", color=GREY)
            return
        if (band := bar.random) is not None:
            axes.barh(height, band[2] - band[0], left=band[0], height=0.8, color=BAND)
            axes.plot((band[1], band[1]), (height - 0.4, height + 0.4), color=GREY, linewidth=0.8)
        axes.barh(height, bar.row.shift, height=0.5, color=group.color, edgecolor="white", hatch=_hatch(group))
        if (interval := bar.interval) is not None:
            axes.plot(interval, (height, height), color="black", linewidth=1.2, marker="|", markersize=5)
        beside = axes.get_yaxis_transform()
        axes.text(1.05, height, bar.text, transform=beside, va="center", fontsize=8, clip_on=False)
        for lane, part in enumerate(bar.ties):
            ends = {"first": (-0.3, 0.5), "inner": (-0.5, 0.5), "last": (-0.5, 0.3)}.get(part)
            if ends is not None:
                x = 1.015 + 0.012 * lane
                axes.plot((x, x), (height + ends[0], height + ends[1]), transform=beside, color=GREY, clip_on=False)

    def handles(self) -> list[Artist]:
        from matplotlib.patches import Patch

        return [Patch(facecolor=color, label=text) for color, text in self.legend]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Colours of what stands behind bars and beside them, and what it is."""
        entries = []
        if any(group.controls for group in self.groups):
            entries.append((CONTROLS, "where the intervals of controls reach"))
        if any(bar.random for group in self.groups for bar in group.bars):
            entries.append((BAND, "95% of random vectors in its place"))
        if any(any(bar.ties) for group in self.groups for bar in group.bars):
            entries.append((GREY, "a line beside them joins what isn't told apart"))
        return entries


def _hatch(group: Group) -> str:
    return DIRECTIONS[group.direction][1]


def reach_panels(summary: Summary) -> list[ReachPanel]:
    """A panel a behavior."""
    panels = []
    for name in summary.subjects:
        rows = summary.of(name)
        groups = [group for direction in DIRECTIONS if (group := _grouped(rows, direction, summary.contrasts)).bars]
        if groups:
            before = rows[0].p_match if rows[0].is_baseline and rows[0].p_match is not None else None
            low, high = (-1.0, 1.0) if before is None else (-before, 1 - before)
            panels.append(ReachPanel(name, tuple(groups), low, high))
    return panels


def _grouped(rows: Sequence[SummaryRow], direction: str, contrasts: Sequence[Contrast]) -> Group:
    asked = [row for row in rows if row.direction == direction]
    cells = [row for row in asked if not row.control]
    usable = [row for row in cells if row.shift is not None and not is_broken(row)]
    if len(usable) > MOST:
        usable = ranked(cells, direction)[:MOST]
    shown = sorted(usable, key=lambda row: -intended(row))
    spans = [(row.shift, *(claim(row) or ())) for row in asked if row.control and row.shift is not None]
    ends = [end for span in spans for end in span]
    ties = _ties(shown, contrasts)
    bars = [Bar(label(row, rows), row, tuple(_part(i, *tie) for tie in ties)) for i, row in enumerate(shown)]
    bars += [Bar(label(row, rows), row) for row in cells if row.shift is None or is_broken(row)][:MOST]
    return Group(direction, tuple(bars), (min(ends), max(ends)) if ends else None)


def _ties(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[tuple[int, int]]:
    """The longest runs of bars of which no two are told apart."""
    ties: list[tuple[int, int]] = []
    for first in range(len(rows)):
        last = first
        while last + 1 < len(rows) and all(_tied(row, rows[last + 1], contrasts) for row in rows[first : last + 1]):
            last += 1
        if last > first and not (ties and ties[-1][1] >= last):
            ties.append((first, last))
    return ties


def _tied(one: SummaryRow, other: SummaryRow, contrasts: Sequence[Contrast]) -> bool:
    contrast = between(contrasts, one.cell, other.cell)
    return contrast is not None and contrast["verdict"] in ("equivalent", "undecided")


def _part(place: int, first: int, last: int) -> str:
    if not first <= place <= last:
        return ""
    return "first" if place == first else "last" if place == last else "inner"
