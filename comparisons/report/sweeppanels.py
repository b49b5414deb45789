"""A sweep's panels: maps of layer × multiplier, and curves by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.panels import GREY, MARKERS, Panel, shortened, signed
from comparisons.report.sweep import Grid, Measure, multiplier
from comparisons.report.table import broken_text
from comparisons.report.tips import ON_LIGHT, tip_cell, tip_points
from comparisons.results.findings import estimate, is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.table import interval, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

ENDS = {"shift": ("#8f3f00", "#D55E00", "#f7f7f7", "#0072B2", "#00446b")}
ENDS["cost"] = ("#00573f", "#009E73", "#f7f7f7", "#CC79A7", "#8a2f63")
"""Colours from below to above 0; pairs that are told apart in all common kinds of colour blindness."""

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
class MapPanel(Panel):
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
    shared_y: ClassVar[bool] = False

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

        values = np.array([[np.nan if v is None else v for v in row] for row in self.grid.values(self.measure)])
        axes.set_facecolor("#e4e4e4")  # shows where there is no number
        axes.imshow(values, cmap=colors(self.measure), vmin=-self.limit, vmax=self.limit, aspect="auto")
        axes.set_xticks(range(len(self.grid.multipliers)), [_times(m) for m in self.grid.multipliers])
        step = max(1, round(0.16 / self._row))
        axes.set_yticks(range(0, len(self.grid.layers), step), [str(n) for n in self.grid.layers[::step]])
        axes.tick_params(length=0, labelsize=8 if len(self.grid.multipliers) <= NARROW else 7)
        axes.spines[:].set_visible(False)
        for y, layer in enumerate(self.grid.layers):
            for x, times in enumerate(self.grid.multipliers):
                self._mark(axes, x, y, self.grid.rows.get((layer, times)))
                self._number(axes, x, y, float(values[y, x]))
                self._tip(axes, x, y, self.grid.rows.get((layer, times)))
        self._frame(axes)

    def _mark(self, axes: Axes, x: int, y: int, row: SummaryRow | None) -> None:
        """Hatches what failed or no longer answers with a letter."""
        from matplotlib.patches import Rectangle

        if row is not None and (row.failed or is_broken(row)):
            place = (x - 0.5, y - 0.5)
            axes.add_patch(Rectangle(place, 1, 1, fill=False, hatch="////", edgecolor="#888888", linewidth=0))

    def _tip(self, axes: Axes, x: int, y: int, row: SummaryRow | None) -> None:
        if row is None or len(self.grid.rows) > TIPPED:
            return
        value, bounds = (row.shift, row.shift_ci) if self.measure == "shift" else (row.cost, row.cost_ci)
        said = "failed" if row.failed else f"{number(value, signed=True)} {interval(bounds)}"
        broken = f", {broken_text(row)}" if is_broken(row) else ""
        tip_cell(axes, x, y, f"layer {row.swept_layer}, multiplier {_times(multiplier(row))}: {said}{broken}")

    def _number(self, axes: Axes, x: int, y: int, value: float) -> None:
        fits = self._row >= 0.15 and len(self.grid.multipliers) <= NUMBERED
        # The baseline's column is 0 by definition.
        if not fits or value != value or self.grid.multipliers[x] == 0:
            return
        color = "white" if abs(value) > 0.45 * self.limit else ON_LIGHT
        many = len(self.grid.multipliers) > (NARROW if self.wide else 7)
        size = 6.5 if many else 7.5
        # A sign before what rounds to 0 would say more than the number.
        text = signed(value).replace("0.", ".") if abs(value) >= 0.005 else ".00"
        axes.text(x, y, text, ha="center", va="center", color=color, fontsize=size)

    def _frame(self, axes: Axes) -> None:
        """Frames the best cell of each direction."""
        from matplotlib.patches import Rectangle

        for row in (self.grid.best("pos"), self.grid.best("neg")) if self.measure == "shift" else ():
            place = next((key for key, found in self.grid.rows.items() if found is row), None)
            if place is not None:
                x, y = self.grid.multipliers.index(place[1]), self.grid.layers.index(place[0])
                corner = (x - 0.5, y - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=1.8, zorder=3))

    def handles(self) -> list[Artist]:
        return []

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:
        bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.03, pad=0.01, aspect=30)
        bar.set_label(NAMES[self.measure])
        bar.outline.set_visible(False)


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
        from matplotlib.ticker import MaxNLocator

        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        for times in self.multipliers:
            self._curve(axes, times)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
        if len(self.grid.layers) == 1:
            axes.set_xlim(self.grid.layers[0] - 1, self.grid.layers[0] + 1)

    def _curve(self, axes: Axes, times: float) -> None:
        rows = [self.grid.rows.get((layer, times)) for layer in self.grid.layers]
        values = [float("nan") if row is None or row.shift is None else row.shift for row in rows]
        axes.plot(self.grid.layers, values, **self._look(times))
        tip_points(
            axes,
            [
                (layer, row.shift, f"layer {layer}, multiplier {_times(times)}: {estimate(row)}")
                for layer, row in zip(self.grid.layers, rows, strict=True)
                if row is not None and row.shift is not None and len(self.grid.rows) <= TIPPED
            ],
        )
        if len(self.multipliers) > BANDS:
            return
        bounds = [row.shift_ci if row is not None and row.shift_ci else (float("nan"),) * 2 for row in rows]
        low, high = zip(*bounds, strict=True)
        color = self._look(times)["color"]
        if len(rows) == 1:
            axes.vlines(self.grid.layers, low, high, color=color, linewidth=1.2)
        else:
            axes.fill_between(self.grid.layers, low, high, color=color, alpha=0.18, linewidth=0)

    def _look(self, times: float) -> dict[str, Any]:
        """Colour by direction and darker with strength; the marker tells the strength, the line the direction."""
        strengths = sorted({abs(m) for m in self.multipliers})
        rank = strengths.index(abs(times))
        depth = (rank + 1) / len(strengths)
        side = 0.5 + (0.16 + 0.34 * depth) * (1 if times > 0 else -1)
        small = len(self.grid.layers) > 16 or len(self.multipliers) > 8
        return {
            "color": colors("shift")(side),
            "linestyle": "-" if times > 0 else "--",
            "marker": MARKERS[rank % len(MARKERS)],
            "markersize": 3 if small else 5,
            "linewidth": 1.2,
        }

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        return [Line2D([], [], label=_times(times), **self._look(times)) for times in self.multipliers]


def map_panels(found: Sequence[Grid], measure: Measure) -> list[MapPanel]:
    """A map for each grid, all on one scale; none where nothing was measured."""
    numbers = [abs(v) for grid in found for row in grid.values(measure) for v in row if v is not None]
    measured = any(getattr(row, measure) is not None for grid in found for row in grid.rows.values())
    if not measured:
        return []
    wide = any(len(grid.multipliers) > NARROW for grid in found)
    limit = max(*numbers, 0.01)
    title = _title if measure == "shift" else _dearest
    return [MapPanel(title(grid, found), grid, measure, limit, wide) for grid in found]


def curve_panels(found: Sequence[Grid]) -> list[CurvePanel]:
    """Curves for each grid, all with the same multipliers; none without a dose."""
    multipliers = tuple(sorted({times for grid in found for times in grid.multipliers if times}))
    if not multipliers:
        return []
    return [CurvePanel(_title(grid, found), grid, multipliers) for grid in found]


def _name(grid: Grid, found: Sequence[Grid]) -> str:
    several = len({other.series for other in found}) > 1
    return grid.behavior + (f", {shortened(grid.series)}" if several else "")


def _dearest(grid: Grid, found: Sequence[Grid]) -> str:
    """What the cell that costs most costs."""
    most = max((row for row in grid.rows.values() if row.cost is not None), key=lambda row: row.cost or 0, default=None)
    text = "no number" if most is None else f"most: {signed(most.cost)} {_place(most)}"
    return f"{_name(grid, found)}\n{text}"


def _place(row: SummaryRow) -> str:
    return f"(layer {row.swept_layer}, {_times(multiplier(row))})"


def _title(grid: Grid, found: Sequence[Grid]) -> str:
    best = [f"{signed(row.shift)} {_place(row)}" for row in _bests(grid)]
    return f"{_name(grid, found)}\n" + (f"best: {'; '.join(best)}" if best else "no usable cell")


def _bests(grid: Grid) -> list[SummaryRow]:
    return [row for row in (grid.best("pos"), grid.best("neg")) if row is not None]


def _times(value: float) -> str:
    """A multiplier with its sign, typeset."""
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")


def colors(measure: Measure) -> Colormap:
    """Colours that diverge from 0."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(measure, ENDS[measure])
