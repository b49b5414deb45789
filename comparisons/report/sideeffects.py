"""Side effects: what steering one behavior does to the others, as matrices for a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from comparisons.report.panels import Panel, label, shortened, signed
from comparisons.report.sweeppanels import colors
from comparisons.report.tips import ON_LIGHT, tip_cell
from comparisons.results.findings import is_broken
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Effect:
    """A shift on one behavior's questions.

    Attributes:
        shift: with its sign.
        interval: 95%, None where there is none.
        own: whether the behavior is the one that was to move.
    """

    shift: float
    interval: Sequence[float] | None
    own: bool = False

    @property
    def measurable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Matrix:
    """What some cells do to every behavior.

    Attributes:
        title: what its cells have in common.
        head: what its lines are.
        lines: the cells.
        columns: the behaviors measured.
        effects: by place in `lines` and name of the column; a failed or broken cell has none.
    """

    title: str
    head: str
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    effects: Mapping[tuple[int, str], Effect]


def matrices(summary: Summary) -> list[Matrix]:
    """A matrix of behavior × behavior for each method, strength and direction; one of cells for a single behavior."""
    rows = [row for row in summary.rows if not row.is_baseline]
    measured = [name for row in rows for name in row.side_effects or ()]
    if not measured:
        return []
    columns = tuple(dict.fromkeys((*summary.behaviors, *measured)))
    if len(summary.subjects) == 1:
        lines = tuple(f"{label(row, rows)} {row.direction}" for row in rows)
        return [Matrix(f"steered: {summary.behaviors[0]}", "cell", lines, columns, _effects(rows))]
    found = []
    for name, strength, direction in dict.fromkeys((row.name, row.strength, row.direction) for row in rows):
        mine = [row for row in rows if (row.name, row.strength, row.direction) == (name, strength, direction)]
        title = f"{label(mine[0], rows)} {direction}"
        found.append(Matrix(title, "steered", tuple(row.subject for row in mine), columns, _effects(mine)))
    return found


def _effects(rows: Sequence[SummaryRow]) -> dict[tuple[int, str], Effect]:
    found: dict[tuple[int, str], Effect] = {}
    for line, row in enumerate(rows):
        if row.shift is None or is_broken(row):
            continue
        found[line, row.behavior] = Effect(row.shift, row.shift_ci, own=True)
        for name, effect in (row.side_effects or {}).items():
            found[line, name] = Effect(float(effect["shift"]), effect.get("ci"))
    return found


def side_effect_table(matrix: Matrix) -> Table:
    """The matrix as a table; a shift whose interval leaves out 0 has a star, the own behavior brackets."""
    columns = (Column(matrix.head, align="left"), *(Column(name) for name in matrix.columns))
    lines = [
        Row((line, *(_text(matrix.effects.get((i, name))) for name in matrix.columns)), matrix.title)
        for i, line in enumerate(matrix.lines)
    ]
    return Table(columns, tuple(lines))


def _text(effect: Effect | None) -> str:
    if effect is None:
        return NOTHING
    text = number(effect.shift, signed=True) + ("*" if effect.measurable else "")
    return f"({text})" if effect.own else text


@dataclass(frozen=True)
class SidePanel(Panel):
    """A matrix as a map diverging from 0, the behavior that was to move framed.

    Attributes:
        matrix: what is shown.
        limit: the largest shift of all maps of the figure.
    """

    matrix: Matrix
    limit: float

    x_label: ClassVar[str] = "measured on"
    shared_y: ClassVar[bool] = False

    @property
    def height(self) -> float:
        return 1.0 + 0.3 * len(self.matrix.lines)

    @property
    def columns(self) -> int:
        return 1

    def draw(self, axes: Axes) -> None:
        import numpy as np

        matrix = self.matrix
        values = np.full((len(matrix.lines), len(matrix.columns)), np.nan)
        for (line, name), effect in matrix.effects.items():
            values[line, matrix.columns.index(name)] = effect.shift
        axes.set_facecolor("#e4e4e4")  # shows where there is no number
        axes.imshow(values, cmap=colors("shift"), vmin=-self.limit, vmax=self.limit, aspect="auto")
        names = [shortened(name) for name in matrix.columns]
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(matrix.lines)), [shortened(line) for line in matrix.lines])
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
        for (line, name), effect in matrix.effects.items():
            self._number(axes, matrix.columns.index(name), line, effect)

    def _number(self, axes: Axes, x: int, y: int, effect: Effect) -> None:
        from matplotlib.patches import Rectangle

        color = "white" if abs(effect.shift) > 0.45 * self.limit else ON_LIGHT
        weight = "bold" if effect.measurable else "normal"
        # A sign before what rounds to 0 would say more than the number.
        text = signed(effect.shift) if abs(effect.shift) >= 0.005 else "0.00"
        axes.text(x, y, text, ha="center", va="center", color=color, fontsize=7.5, fontweight=weight)
        if effect.own:
            corner = (x - 0.5, y - 0.5)
            frame = Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=1.8, zorder=3, clip_on=False)
            axes.add_patch(frame)
        place = f"{self.matrix.lines[y]}, measured on {self.matrix.columns[x]}"
        tip_cell(axes, x, y, f"{place}: {number(effect.shift, signed=True)} {interval(effect.interval)}")

    def handles(self) -> list[Artist]:
        return []

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:
        bar = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.03, pad=0.01, aspect=30)
        bar.set_label("shift of p_match")
        bar.outline.set_visible(False)


def side_panels(summary: Summary) -> list[SidePanel]:
    """A panel a matrix, all with one scale of colours; controls stand in the tables only."""
    found = matrices(Summary(tuple(row for row in summary.rows if not row.control)))
    limit = max((abs(effect.shift) for matrix in found for effect in matrix.effects.values()), default=0.0)
    return [SidePanel(matrix.title, matrix, limit or 1.0) for matrix in found]
