"""A sweep's panels: maps of layer × multiplier, and curves by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.panels import (
    MapPanel,
    Panel,
    diverging,
    frame,
    key,
    paint,
    shortened,
    signed,
    tip,
    tip_cell,
    tip_points,
    whole_layers,
    write_value,
)
from comparisons.report.sweep import Grid, Measure, multiplier
from comparisons.report.table import broken_text
from comparisons.results.findings import estimate, is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.drawing import GREY, MARKERS
from comparisons.util.table import interval, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

NAMES = {"shift": "shift of p_match", "cost": "knowledge lost"}
NARROW = 9
"""Multipliers up to which two maps stand side by side with their numbers."""

NUMBERED = 21
"""Multipliers up to which numbers fit into the cells of a map as wide as the page."""

TIPPED = 500
"""Cells up to which each has a text to be met: of more they are too small to point at, and would make heavy pages."""

BANDS = 4
"""Curves up to which their intervals are drawn."""

LEGEND_COLUMNS = 9


@dataclass(frozen=True)
class GridPanel(MapPanel):
    """A map of one number by layer and multiplier, diverging from 0.

    Attributes:
        grid: what is shown.
        measure: which number.
        limit: the largest number of all maps of the figure.
        wide: whether maps stand below one another.
    """

    grid: Grid
    measure: Measure
    limit: float
    wide: bool

    x_label: ClassVar[str] = "multiplier (0: the baseline)"
    y_label: ClassVar[str] = "layer"

    @property
    def scale(self) -> str:
        return NAMES[self.measure]

    @property
    def height(self) -> float:
        return 0.85 + self._row * len(self.grid.layers)

    @property
    def _row(self) -> float:
        """Inches of one layer: a page's height at most, for all."""
        return min(0.24, 11.0 / len(self.grid.layers)) if len(self.grid.layers) > 4 else 0.34

    @property
    def columns(self) -> int:
        return 1 if self.wide else 2

    def draw(self, axes: Axes) -> None:
        import numpy as np

        grid = self.grid
        values = np.array([[np.nan if v is None else v for v in row] for row in grid.values(self.measure)])
        paint(axes, values, self.limit, self.measure)
        axes.set_xticks(range(len(grid.multipliers)), [_times(m) for m in grid.multipliers])
        step = max(1, round(0.16 / self._row))
        axes.set_yticks(range(0, len(grid.layers), step), [str(n) for n in grid.layers[::step]])
        axes.tick_params(labelsize=8 if len(grid.multipliers) <= NARROW else 7)
        for y, layer in enumerate(grid.layers):
            for x, times in enumerate(grid.multipliers):
                row = grid.rows.get((layer, times))
                if row is not None and (row.failed or is_broken(row)):
                    deep = abs(values[y, x]) > 0.3 * self.limit
                    frame(axes, x, y, hatch="////", edgecolor="#fefefe" if deep else "#555555", linewidth=0, zorder=1)
                self._number(axes, x, y, float(values[y, x]))
                self._tip(axes, x, y, row)
        for row in (grid.best("pos"), grid.best("neg")) if self.measure == "shift" else ():
            if row is not None:
                layer, times = next(place for place, cell in grid.rows.items() if cell is row)
                frame(axes, grid.multipliers.index(times), grid.layers.index(layer))

    def _tip(self, axes: Axes, x: int, y: int, row: SummaryRow | None) -> None:
        if row is None or len(self.grid.rows) > TIPPED:
            return
        value, bounds = (row.shift, row.shift_ci) if self.measure == "shift" else (row.cost, row.cost_ci)
        text = "failed" if row.failed else f"{number(value, signed=True)} {interval(bounds)}"
        broken = f", {broken_text(row)}" if is_broken(row) else ""
        text = f"layer {row.swept_layer}, multiplier {_times(multiplier(row))}: {text}{broken}"
        tip_cell(axes, x, y, text, strength=f"{row.strength:g}", cell=row.cell)

    def _number(self, axes: Axes, x: int, y: int, value: float) -> None:
        fits = self._row >= 0.15 and len(self.grid.multipliers) <= NUMBERED
        # The baseline's column is 0 by definition.
        if not fits or value != value or self.grid.multipliers[x] == 0:
            return
        many = len(self.grid.multipliers) > (NARROW if self.wide else 7)
        text = signed(value).replace("0.", ".") if abs(value) >= 0.005 else ".00"
        write_value(axes, x, y, value, self.limit, text=text, fontsize=6.5 if many else 7.5)


@dataclass(frozen=True)
class CurvePanel(Panel):
    """Shift by layer, a curve a multiplier.

    Attributes:
        grid: what is shown.
        multipliers: of all panels of the figure, 0 left out.
    """

    grid: Grid
    multipliers: tuple[float, ...]

    x_label: ClassVar[str] = "layer (block, counted from 0)"
    y_label: ClassVar[str] = "shift of p_match"

    @property
    def height(self) -> float:
        return 2.4

    @property
    def legend_rows(self) -> int:
        return -(-len(self.multipliers) // LEGEND_COLUMNS)

    def draw(self, axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        for times in self.multipliers:
            self._curve(axes, times)
        whole_layers(axes)
        if len(self.grid.layers) == 1:
            axes.set_xlim(self.grid.layers[0] - 1, self.grid.layers[0] + 1)

    def _curve(self, axes: Axes, times: float) -> None:
        rows = [self.grid.rows.get((layer, times)) for layer in self.grid.layers]
        values = [float("nan") if row is None or row.shift is None else row.shift for row in rows]
        about = {"series": _times(times), "strength": f"{abs(times):g}"}
        tip(axes.plot(self.grid.layers, values, **self._look(times))[0], **about)
        tip_points(
            axes,
            [
                (layer, row.shift, f"layer {layer}, multiplier {_times(times)}: {estimate(row)}", row.cell)
                for layer, row in zip(self.grid.layers, rows, strict=True)
                if row is not None and row.shift is not None and len(self.grid.rows) <= TIPPED
            ],
            **about,
        )
        if len(self.multipliers) > BANDS:
            return
        bounds = [row.shift_ci if row is not None and row.shift_ci else (float("nan"),) * 2 for row in rows]
        low, high = zip(*bounds, strict=True)
        color = self._look(times)["color"]
        if len(rows) == 1:
            tip(axes.vlines(self.grid.layers, low, high, color=color, linewidth=1.2), **about)
        else:
            band = axes.fill_between(self.grid.layers, low, high, color=color, alpha=0.18, linewidth=0)
            tip(band, **about)

    def _look(self, times: float) -> dict[str, Any]:
        """Colour by direction and darker with strength; the marker tells the strength, the line the direction."""
        strengths = sorted({abs(m) for m in self.multipliers})
        rank = strengths.index(abs(times))
        depth = (rank + 1) / len(strengths)
        side = 0.5 + (0.16 + 0.34 * depth) * (1 if times > 0 else -1)
        small = len(self.grid.layers) > 16 or len(self.multipliers) > 8
        return {
            "color": diverging("shift")(side),
            "linestyle": "-" if times > 0 else "--",
            "marker": MARKERS[rank % len(MARKERS)],
            "markersize": 3 if small else 5,
            "linewidth": 1.2,
        }

    def handles(self) -> list[Artist]:
        return [key(_times(times), **self._look(times)) for times in self.multipliers]


def map_panels(grids: Sequence[Grid], measure: Measure) -> list[GridPanel]:
    """A map for each grid, all on one scale; none where nothing was measured."""
    numbers = [abs(v) for grid in grids for row in grid.values(measure) for v in row if v is not None]
    measured = any(getattr(row, measure) is not None for grid in grids for row in grid.rows.values())
    if not measured:
        return []
    wide = any(len(grid.multipliers) > NARROW for grid in grids)
    limit = max(*numbers, 0.01)
    title = _best if measure == "shift" else _dearest
    return [GridPanel(title(grid, grids), grid, measure, limit, wide) for grid in grids]


def curve_panels(grids: Sequence[Grid]) -> list[CurvePanel]:
    """Curves for each grid, all with the same multipliers; none without a dose."""
    multipliers = tuple(sorted({times for grid in grids for times in grid.multipliers if times}))
    if not multipliers:
        return []
    return [CurvePanel(_best(grid, grids), grid, multipliers) for grid in grids]


def _name(grid: Grid, grids: Sequence[Grid]) -> str:
    several = len({other.series for other in grids}) > 1
    return grid.behavior + (f", {shortened(grid.series)}" if several else "")


def _dearest(grid: Grid, grids: Sequence[Grid]) -> str:
    """What the cell that costs most costs."""
    most = max((row for row in grid.rows.values() if row.cost is not None), key=lambda row: row.cost or 0, default=None)
    text = "no number" if most is None else f"most: {signed(most.cost)} {_place(most)}"
    return f"{_name(grid, grids)}\n{text}"


def _best(grid: Grid, grids: Sequence[Grid]) -> str:
    best = [f"{signed(row.shift)} {_place(row)}" for row in (grid.best("pos"), grid.best("neg")) if row is not None]
    return f"{_name(grid, grids)}\n" + (f"best: {'; '.join(best)}" if best else "no usable cell")


def _place(row: SummaryRow) -> str:
    return f"(layer {row.swept_layer}, {_times(multiplier(row))})"


def _times(value: float) -> str:
    """A multiplier with its sign, typeset."""
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")
