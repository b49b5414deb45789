"""The panel of shift against knowledge cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.panels import BAND, COLORS, DIRECTIONS, GREY, MARKERS, Panel, label, shortened, signed
from comparisons.report.table import describe
from comparisons.report.tips import tip
from comparisons.results.findings import estimate, is_broken
from comparisons.results.summary import Summary, SummaryRow

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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
                mine = [r for r in self.rows if r.name == name and r.direction == direction and _is_point(r)]
                self._points(axes, sorted(mine, key=lambda row: row.strength), number)
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

    def _look(self, number: int) -> tuple[str, str]:
        """Colour and marker; controls stand in grey behind the methods."""
        control = self.names[number] in {row.name for row in self.rows if row.control}
        return BAND if control else COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        controls = {row.name for row in self.rows if row.control}
        found: list[Artist] = [
            Line2D([], [], color=color, marker=marker, markersize=6, linewidth=0.9,
                   label=shortened(name) + (" (control)" if name in controls else ""))
            for name, (color, marker) in ((name, self._look(i)) for i, name in enumerate(self.names))
        ]  # fmt: skip
        full: dict[str, Any] = {"marker": "o", "color": GREY, "linestyle": "none"}
        found.append(Line2D([], [], **full, label="filled: more (pos)"))
        found.append(Line2D([], [], **full, markerfacecolor="white", label="hollow: less (neg)"))
        if len({(row.name, row.strength) for row in self.rows if not row.is_baseline}) > len(self.names):
            found.append(Line2D([], [], **full, markersize=9, label="larger: stronger"))
        return found


def cost_panels(summary: Summary) -> list[CostPanel]:
    """A panel a behavior with knowledge measured."""
    names = tuple(dict.fromkeys(row.name for row in summary.rows if not row.is_baseline and _is_point(row)))
    measured = [name for name in summary.subjects if any(_is_point(row) for row in summary.of(name))]
    return [CostPanel(_cheapest(name, summary.of(name)), summary.of(name), names) for name in measured]


def _is_point(row: SummaryRow) -> bool:
    return row.shift is not None and row.cost is not None and not is_broken(row)


def _cheapest(behavior: str, rows: Sequence[SummaryRow]) -> str:
    """The behavior and the largest cost, which is what the eye looks for."""
    worst = max((row for row in rows if _is_point(row)), key=lambda row: row.cost or 0.0)
    return f"{behavior}\nlargest cost: {label(worst, rows)} {worst.direction}, {signed(worst.cost)}"
