"""The panels of a figure: what all kinds share, the texts of their marks, and maps of numbers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.results.summary import SummaryRow
from comparisons.util.drawing import BLUE, VERMILLION
from comparisons.util.table import number

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

DIRECTIONS = {"pos": (BLUE, "", "more (pos)"), "neg": (VERMILLION, "////", "less (neg)")}
"""Colour, hatch and name of a direction."""

LONGEST = 26
"""Characters of a name beside an axis."""

TIP = "tip:"
"""How the name of a mark's group begins; what `tip` was given follows as JSON."""

DARK = "#111111"
"""Of letters on light data, which stay dark where the page is dark."""

ENDS = {
    "shift": ("#8f3f00", "#D55E00", "#f7f7f7", "#0072B2", "#00446b"),
    "cost": ("#00573f", "#009E73", "#f7f7f7", "#CC79A7", "#8a2f63"),
}
"""Colours from below to above 0; pairs that are told apart in all common kinds of colour blindness."""


@dataclass(frozen=True)
class Panel(ABC):
    """One panel; all panels of a figure are of one kind.

    Attributes:
        title: says what is seen.
    """

    title: str

    shared_x: ClassVar[bool] = True
    shared_y: ClassVar[bool] = True
    flows: ClassVar[bool] = False
    """Whether a page writes it in HTML, which fits any width."""
    x_label: ClassVar[str] = ""
    y_label: ClassVar[str] = ""

    @property
    @abstractmethod
    def height(self) -> float:
        """Inches."""

    @property
    def columns(self) -> int:
        """Panels side by side."""
        return 2

    @property
    def legend_rows(self) -> int:
        """Lines of the figure's legend."""
        return -(-len(self.handles()) // 4)

    @abstractmethod
    def draw(self, axes: Axes) -> None:
        """Draws the panel's data."""

    def handles(self) -> list[Artist]:
        """The figure's legend, equal for all its panels; may be empty."""
        return []

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:  # noqa: B027 - most figures need no more
        """Adds what all panels of a figure share beside the legend."""


@dataclass(frozen=True)
class MapPanel(Panel):
    """A map of numbers whose colours diverge from 0, and a scale of them for all maps of the figure."""

    shared_y: ClassVar[bool] = False

    @property
    @abstractmethod
    def scale(self) -> str:
        """What the scale of colours says."""

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:
        bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.03, pad=0.01, aspect=30)
        bar.set_label(self.scale)
        bar.outline.set_visible(False)


def paint(axes: Axes, values: np.ndarray, limit: float, colors: str = "shift") -> None:
    """Paints a map of numbers; NaN is grey.

    Args:
        axes: where.
        values: [rows, columns].
        limit: the absolute number of the deepest colours.
        colors: a name of `ENDS`.
    """
    axes.set_facecolor("#e4e4e4")  # shows where there is no number
    axes.imshow(values, cmap=diverging(colors), vmin=-limit, vmax=limit, aspect="auto")
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)


def write_value(axes: Axes, x: int, y: int, value: float, limit: float, dark: str = DARK, **style: Any) -> None:
    """Writes a number into a cell of a map, in letters that are read on its colour."""
    # A sign before what rounds to 0 would say more than the number.
    text = style.pop("text", None) or (signed(value) if abs(value) >= 0.005 else "0.00")
    color = "white" if abs(value) > 0.45 * limit else dark
    axes.text(x, y, text, ha="center", va="center", color=color, **{"fontsize": 7.5, **style})


def frame(axes: Axes, x: int, y: int, **style: Any) -> None:
    """Frames a cell of a map."""
    from matplotlib.patches import Rectangle

    look = {"fill": False, "edgecolor": "black", "linewidth": 1.8, "zorder": 3, **style}
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **look))


def diverging(name: str) -> Colormap:
    """Colours of `ENDS` that diverge from 0."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name, ENDS[name])


def key(label: str, **look: Any) -> Artist:
    """An entry of a legend: a line or marker, and its name."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def whole_layers(axes: Axes) -> None:
    """Gives the axis of layers ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))


def tip(artist: Artist, text: str = "", **about: str) -> None:
    """Says what a mark is, for a page; a PNG doesn't show it.

    Args:
        artist: the mark.
        text: shown where it is pointed at; "" for what is no value, as a line that joins some.
        about: "series", the legend's entry that shows and hides it; "strength", by which it is narrowed; "cell", the
            key of the run's cell whose questions it opens; "opens", which ones, where not those of its behavior.
    """
    artist.set_gid(TIP + json.dumps({"text": text, **about}))


def tip_points(axes: Axes, points: Sequence[tuple[float, float, str, str]], **about: str) -> None:
    """Gives places of a curve their texts and the keys of their cells: unseen marks, large enough to be met."""
    for x, y, text, cell in points:
        (mark,) = axes.plot(x, y, marker="o", markersize=11, alpha=0.0, zorder=4)
        tip(mark, text, cell=cell, **about)


def tip_cell(axes: Axes, x: int, y: int, text: str, **about: str) -> None:
    """Says what a cell of a map is: an unseen square over it."""
    from matplotlib.patches import Rectangle

    square = Rectangle((x - 0.5, y - 0.5), 1, 1, alpha=0.0, linewidth=0, zorder=4)
    axes.add_patch(square)
    tip(square, text, **about)


def shortened(text: str) -> str:
    """A name that fits beside an axis; what is left out is in the middle, as ends tell names apart."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-(LONGEST // 2 - 1) :]}"


def label(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """A method's name, with the strength where the run has several of it, and whether it is a control."""
    several = any(other.name == row.name and other.strength != row.strength for other in rows)
    control = " (control)" if row.control else ""
    return shortened(row.name) + control + (f" ×{row.strength:g}" if several else "")


def signed(value: float | None) -> str:
    """A number with its sign, typeset."""
    return number(value, signed=True, places=2).replace("-", "−")
