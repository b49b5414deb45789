"""The panels of a figure, and two kinds of them: bars of shifts, and shift on dev by layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.table import broken_text, describe
from comparisons.report.tips import tip, tip_points
from comparisons.results.findings import estimate, is_broken, moved, ranked
from comparisons.results.record import Choice
from comparisons.results.summary import Summary, SummaryRow

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
BAND = "#c4c4c4"
"""Of what random directions do, behind the bars."""

DIRECTIONS = {"pos": (BLUE, "", "more (pos)"), "neg": (VERMILLION, "////", "less (neg)")}
"""Colour, hatch and name of a direction."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which white swallows; markers repeat less often than colours."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
LONGEST = 26


@dataclass(frozen=True)
class Panel(ABC):
    """One panel; all panels of a figure are of one kind.

    Attributes:
        title: says what is seen.
    """

    title: str

    shared_x: ClassVar[bool] = True
    shared_y: ClassVar[bool] = True
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

    @abstractmethod
    def handles(self) -> list[Artist]:
        """The figure's legend, equal for all its panels; may be empty."""

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:  # noqa: B027 - most figures need no more
        """Adds what all panels of a figure share beside the legend."""


@dataclass(frozen=True)
class ShiftPanel(Panel):
    """Bars of shifts with intervals: a line a method and strength, a bar a direction.

    Attributes:
        rows: of one behavior.
        lines: name and strength of each line, the same in all panels.
        labels: what stands beside them.
        banded: whether any panel of the figure has bands of random directions.
    """

    rows: tuple[SummaryRow, ...]
    lines: tuple[tuple[str, float], ...]
    labels: tuple[str, ...]
    banded: bool = False

    x_label: ClassVar[str] = "shift of p_match (probability), 95% interval"

    @property
    def height(self) -> float:
        return 0.75 + 0.34 * len(self.lines)

    def draw(self, axes: Axes) -> None:
        found = {(row.name, row.strength, row.direction): row for row in self.rows}
        for number, (name, strength) in enumerate(self.lines):
            for direction, offset in (("pos", -0.2), ("neg", 0.2)):
                row = found.get((name, strength, direction))
                if row is not None:
                    self._bar(axes, row, number + offset)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_yticks(range(len(self.labels)), self.labels)
        axes.set_ylim(len(self.lines) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)

    def _bar(self, axes: Axes, row: SummaryRow, height: float) -> None:
        color, hatch, _ = DIRECTIONS[row.direction or "pos"]
        if row.shift is None or is_broken(row):
            said = "failed" if row.failed else broken_text(row) if is_broken(row) else "no number"
            axes.annotate(
                f"{row.direction}: {said}", (0, height), (4, 0), textcoords="offset points", va="center",
                fontsize=7, color=GREY,
            )  # fmt: skip
            return
        thickness = 0.36
        band = row.matched_shifts or row.random_shifts
        if band is not None:
            low, middle, high = band
            axes.barh(height, high - low, left=low, height=0.38, color=BAND, zorder=0.9)
            axes.plot((middle, middle), (height - 0.19, height + 0.19), color=GREY, linewidth=0.8, zorder=0.95)
            thickness = 0.2  # so that the band is seen behind it
        bars = axes.barh(height, row.shift, height=thickness, color=color, edgecolor="white", hatch=hatch)
        tip(bars[0], f"{describe(row)}: {estimate(row)}")
        if row.shift_ci is not None:
            axes.plot(row.shift_ci, (height, height), color="black", linewidth=1.2, marker="|", markersize=5)

    def handles(self) -> list[Artist]:
        from matplotlib.patches import Patch

        used = [d for d in DIRECTIONS if any(row.direction == d for row in self.rows)]
        found: list[Artist] = [
            Patch(facecolor=DIRECTIONS[d][0], edgecolor="white", hatch=DIRECTIONS[d][1], label=DIRECTIONS[d][2])
            for d in used
        ]
        if self.banded:
            found.append(Patch(facecolor=BAND, label="95% of random vectors in its place"))
        return found


@dataclass(frozen=True)
class LayerPanel(Panel):
    """Shift on dev by layer in both directions, the chosen layer marked."""

    choice: Choice

    x_label: ClassVar[str] = "layer (block, counted from 0)"
    y_label: ClassVar[str] = "shift on dev"

    @property
    def height(self) -> float:
        return 2.2

    def draw(self, axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        trials = sorted(self.choice.trials, key=lambda trial: int(trial.settings["layer"]))
        layers = [int(trial.settings["layer"]) for trial in trials]
        small = 5 if len(layers) <= 16 else 3
        chosen = self.choice.chosen.get("layer")
        if chosen is not None:
            axes.axvline(chosen, color="#bbbbbb", linewidth=4, zorder=0)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        for values, (color, line, marker, _) in zip(
            ([t.shift_pos for t in trials], [t.shift_neg for t in trials]), CURVES, strict=True
        ):
            if any(value is not None for value in values):
                numbers = [float("nan") if value is None else value for value in values]
                axes.plot(layers, numbers, color=color, linestyle=line, marker=marker, markersize=small)
                points = [(x, y) for x, y in zip(layers, values, strict=True) if y is not None]
                tip_points(axes, [(x, y, f"layer {x}: {signed(y)}") for x, y in points])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        found: list[Artist] = [
            Line2D([], [], color=color, linestyle=line, marker=marker, markersize=5, label=label)
            for color, line, marker, label in CURVES
        ]
        return [*found, Line2D([], [], color="#bbbbbb", linewidth=4, label="chosen layer")]


CURVES: tuple[tuple[str, Any, str, str], ...] = (
    (BLUE, "-", "o", DIRECTIONS["pos"][2]),
    (VERMILLION, "--", "s", DIRECTIONS["neg"][2]),
)
"""Colour, line, marker and name of each direction's curve."""


def shift_panels(summary: Summary) -> list[ShiftPanel]:
    """A panel a behavior, all with the same lines."""
    cells = [row for row in summary.rows if not row.is_baseline]
    lines = tuple(dict.fromkeys((row.name, row.strength) for row in cells))
    if not lines:
        return []
    labels = tuple(label(next(r for r in cells if (r.name, r.strength) == line), cells) for line in lines)
    banded = any(row.random_shifts is not None for row in cells)
    panels = []
    for name in summary.subjects:
        mine = summary.of(name)
        panels.append(ShiftPanel(_finding(name, mine), mine, lines, labels, banded))
    return panels


def layer_panels(choices: Sequence[Choice]) -> list[LayerPanel]:
    """A panel for each choice among layers."""
    found = [choice for choice in choices if choice.by_layer]
    several = len({choice.method for choice in found}) > 1
    panels = []
    for choice in found:
        name = f"{choice.subject}, {choice.method}" if several else choice.subject
        chosen = f"layer {choice.chosen.get('layer')} chosen, of {len(choice.trials)} tried"
        panels.append(LayerPanel(f"{name}: {chosen}", choice))
    return panels


def shortened(text: str) -> str:
    """A name that fits beside an axis; what is left out is in the middle, as ends tell names apart."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-(LONGEST // 2 - 1) :]}"


def _finding(behavior: str, rows: Sequence[SummaryRow]) -> str:
    """The behavior and the furthest method each way."""
    firsts = [next(iter(ranked(rows, direction)), None) for direction in DIRECTIONS]
    found = [f"{label(row, rows)} {signed(row.shift)}" for row in firsts if row is not None and moved(row)]
    if all(row.shift is None or is_broken(row) for row in rows):
        return f"{behavior}\nno result"
    return f"{behavior}\n" + (f"furthest: {' and '.join(found)}" if found else "nothing moved it measurably")


def label(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """A method's name, with the strength where the run has several of it, and whether it is a control."""
    several = any(other.name == row.name and other.strength != row.strength for other in rows)
    control = " (control)" if row.control else ""
    return shortened(row.name) + control + (f" ×{row.strength:g}" if several else "")


def signed(value: float | None) -> str:
    """A number with its sign, typeset."""
    assert value is not None
    return f"{value:+.2f}".replace("-", "−")
