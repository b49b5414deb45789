"""The report's sections of shifts and of what they cost: bars, the main table of each behavior, shift against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.bars import BAND
from comparisons.report.blocks import Block, Heading, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.panels import DIRECTIONS, Panel, key, label, shortened, signed, tip
from comparisons.report.table import describe, main_table
from comparisons.results.findings import estimate, is_broken
from comparisons.results.record import Record
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import COLORS, GREY, MARKERS
from comparisons.util.table import NOTHING, Column, Table, share

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


PLACES_TEXT = (
    "A cell is dominated where another of its direction, or the unchanged model, moves no less far at no larger a cost "
    "and is better in one of the two; what nothing dominates lies on the frontier. The shares are of 2,000 joint draws "
    "of the questions of both."
)

PLACES: tuple[tuple[Column, Callable[[SummaryRow], str]], ...] = (
    (Column("behavior", align="left"), lambda row: row.subject),
    (Column("cell", align="left"), describe),
    (Column("on the frontier"), lambda row: share(row.frontier and row.frontier["probability"])),
    (Column("dominated"), lambda row: share(row.frontier and row.frontier["dominated"])),
    (Column("most often by", align="left"), lambda row: _dominating(row)),
)


def _dominating(row: SummaryRow) -> str:
    by = row.frontier and row.frontier["by"]
    return by.partition("/")[2] if by else NOTHING


def shift_section(record: Record) -> list[Block]:
    """What each cell moved: a table a behavior."""
    blocks = section("Shift", *_band(record))
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        blocks += [Heading(escaped(name), 3), Paragraph(_measured(rows)), main_table(rows)]
    return blocks


def _band(record: Record) -> list[Block]:
    """What the grey band behind the figure's bars is."""
    counts = [row.n_random for row in record.summary.rows if row.n_random]
    if not counts:
        return []
    matched = any(row.matched_shifts is not None for row in record.summary.rows)
    kind = " and of the training pairs' spread" if matched else ""
    text = (
        f"The grey band behind a bar above is where 95% of {min(counts)} random directions of the same norm{kind}, put "
        "in the place of the cell's vectors, moved the behavior."
    )
    return [Paragraph(text)]


def _measured(rows: Sequence[SummaryRow]) -> str:
    """How many questions stand behind the numbers, and what the baseline knows."""
    counts = sorted({row.n_items for row in rows if row.n_items is not None})
    items = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "No"
    text = f"{items} test questions a cell"
    clusters = [row.n_clusters for row in rows if row.n_clusters is not None]
    text += f", {min(clusters)} clusters" if clusters else ""
    if any(row.measure == "answers" for row in rows):
        text += ", measured by the answers' texts"
    baseline = rows[0]
    if baseline.is_baseline and baseline.knowledge is not None:
        text += f"; knowledge of the baseline on {escaped(baseline.knowledge_set or '')}: {baseline.knowledge:.3f}"
    return text + "."


def cost_section(record: Record, gallery: Gallery) -> list[Block]:
    """What each cell's shift costs; nothing where no knowledge was measured."""
    pictures = gallery.draw("cost", cost_panels(record.summary), "Shift against knowledge cost")
    if not pictures:
        return []
    sets = knowledge_sets(record)
    text = f"Cost is measured on {sets}. Above 0 the behavior rises, below it falls; further left is cheaper."
    placed = [row for row in record.summary.rows if row.frontier is not None]
    table: tuple[Block, ...] = (Paragraph(PLACES_TEXT), Table.of(PLACES, placed, lambda row: row.subject))
    return section("Shift and cost", Paragraph(text), *pictures, *(table if placed else ()))


def knowledge_sets(record: Record) -> str:
    """What knowledge was measured on."""
    return escaped(", ".join(dict.fromkeys(row.knowledge_set for row in record.summary.rows if row.knowledge_set)))


@dataclass(frozen=True)
class CostPanel(Panel):
    """Shift against knowledge cost: a point a cell, a colour and marker a method, hollow where less is wanted."""

    rows: tuple[SummaryRow, ...]
    names: tuple[str, ...]

    # One behavior's broken cell would leave the others' points on one spot.
    shared_x: ClassVar[bool] = False
    x_label: ClassVar[str] = "knowledge cost, 95% interval"
    y_label: ClassVar[str] = "shift of p_match"

    @property
    def height(self) -> float:
        return 2.7

    def draw(self, axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.grid(color="#eeeeee", linewidth=0.6)
        for number, name in enumerate(self.names):
            for direction in DIRECTIONS:
                rows = [r for r in self.rows if r.name == name and r.direction == direction and _is_point(r)]
                self._points(axes, sorted(rows, key=lambda row: row.strength), number)
        axes.locator_params(axis="x", nbins=6)

    def _points(self, axes: Axes, rows: Sequence[SummaryRow], number: int) -> None:
        """One method in one direction; a line joins its strengths, and the marker grows with them."""
        color, marker = self._look(number)
        costs = [row.cost for row in rows if row.cost is not None]
        shifts = [row.shift for row in rows if row.shift is not None]
        axes.plot(costs, shifts, color=color, linewidth=0.8, alpha=0.6)
        for place, (row, cost, shift) in enumerate(zip(rows, costs, shifts, strict=True)):
            if row.cost_ci is not None:
                axes.plot(row.cost_ci, (shift, shift), color=color, linewidth=0.9)
            if row.shift_ci is not None:
                axes.plot((cost, cost), row.shift_ci, color=color, linewidth=0.9)
            size = 6 + 3 * place / max(1, len(rows) - 1)
            fill = color if row.direction == "pos" else "white"
            points = axes.plot(cost, shift, marker=marker, markersize=size, color=color, markerfacecolor=fill, zorder=3)
            tip(points[0], f"{describe(row)}: shift {estimate(row)}, cost {signed(cost)}")

    @property
    def _controls(self) -> set[str]:
        return {row.name for row in self.rows if row.control}

    def _look(self, number: int) -> tuple[str, str]:
        """Colour and marker."""
        control = self.names[number] in self._controls
        return BAND if control else COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]

    def handles(self) -> list[Artist]:
        handles = []
        for number, name in enumerate(self.names):
            color, marker = self._look(number)
            text = shortened(name) + (" (control)" if name in self._controls else "")
            handles.append(key(text, color=color, marker=marker, markersize=6, linewidth=0.9))
        point: dict[str, Any] = {"marker": "o", "color": GREY, "linestyle": "none"}
        handles.append(key("filled: more (pos)", **point))
        handles.append(key("hollow: less (neg)", **point, markerfacecolor="white"))
        if len({(row.name, row.strength) for row in self.rows if not row.is_baseline}) > len(self.names):
            handles.append(key("larger: stronger", **point, markersize=9))
        return handles


def cost_panels(summary: Summary) -> list[CostPanel]:
    """A panel a behavior with knowledge measured."""
    names = tuple(dict.fromkeys(row.name for row in summary.rows if not row.is_baseline and _is_point(row)))
    measured = [name for name in summary.subjects if any(_is_point(row) for row in summary.of(name))]
    return [CostPanel(_cost_title(name, summary.of(name)), summary.of(name), names) for name in measured]


def _is_point(row: SummaryRow) -> bool:
    return row.shift is not None and row.cost is not None and not is_broken(row)


def _cost_title(behavior: str, rows: Sequence[SummaryRow]) -> str:
    """The behavior and the largest cost, which is what the eye looks for."""
    worst = max((row for row in rows if _is_point(row)), key=lambda row: row.cost or 0.0)
    return f"{behavior}\nlargest cost: {label(worst, rows)} {worst.direction}, {signed(worst.cost)}"
