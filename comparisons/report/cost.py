"""The report's section of costs: shift against knowledge cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.panels import DIRECTIONS, Panel, key, label, shortened, signed, tip
from comparisons.report.table import describe
from comparisons.results.findings import estimate, is_broken
from comparisons.results.record import Record
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import COLORS, GREY, MARKERS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CONTROL = "#c4c4c4"
"""Controls stand in grey behind the methods."""


def cost_section(record: Record, gallery: Gallery) -> list[Block]:
    """What each cell's shift costs; nothing where no knowledge was measured."""
    pictures = gallery.draw("cost", cost_panels(record.summary), "Shift against knowledge cost")
    if not pictures:
        return []
    sets = knowledge_sets(record)
    text = f"Cost is measured on {sets}. Above 0 the behavior rises, below it falls; further left is cheaper."
    return section("Shift and cost", Paragraph(text), *pictures)


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
    x_label: ClassVar[str] = "knowledge cost (probability), 95% interval"
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
        return CONTROL if control else COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]

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
    return [CostPanel(_title(name, summary.of(name)), summary.of(name), names) for name in measured]


def _is_point(row: SummaryRow) -> bool:
    return row.shift is not None and row.cost is not None and not is_broken(row)


def _title(behavior: str, rows: Sequence[SummaryRow]) -> str:
    """The behavior and the largest cost, which is what the eye looks for."""
    worst = max((row for row in rows if _is_point(row)), key=lambda row: row.cost or 0.0)
    return f"{behavior}\nlargest cost: {label(worst, rows)} {worst.direction}, {signed(worst.cost)}"
