"""Side effects: what steering one behavior does to the others, as matrices for a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from comparisons.report.blocks import Block, Heading, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.panels import MapPanel, frame, label, paint, shortened, tip_cell, write_value
from comparisons.report.sections import EvaluationSection
from comparisons.results.findings import is_broken
from comparisons.results.record import Record
from comparisons.results.schema import SIDE
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT = (
    "Shift of p_match on the questions of every behavior, by what each cell was fitted to move (framed, in "
    "brackets). Bold, or a star: the 95% interval leaves out 0; it is not corrected for the number of cells."
)


@dataclass(frozen=True)
class Effect:
    """A shift on one behavior's questions.

    Attributes:
        shift: with its sign.
        interval: 95%, None where there is none.
        own: whether the behavior is the one that was to move.
        cell: the key of the cell whose questions are behind it.
    """

    shift: float
    interval: Sequence[float] | None
    cell: str
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


def side_effect_section(record: Record, gallery: Gallery) -> list[Block]:
    """Figure and tables; nothing where no other behavior was measured."""
    pictures = gallery.draw("side-effects", side_effect_panels(record.summary), "Side effects")
    every = matrices(record.summary)
    if not every:
        return []
    tables = [part for matrix in every for part in (Heading(escaped(matrix.title), 3), side_effect_table(matrix))]
    return section("Side effects", Paragraph(TEXT), *pictures, *tables)


def matrices(summary: Summary) -> list[Matrix]:
    """A matrix of behavior × behavior for each method, strength and direction; one of cells for a single behavior."""
    cells = [row for row in summary.rows if not row.is_baseline]
    measured = [name for row in cells for name in row.side_effects or ()]
    if not measured:
        return []
    columns = tuple(dict.fromkeys((*summary.behaviors, *measured)))
    if len(summary.subjects) == 1:
        lines = tuple(f"{label(row, cells)} {row.direction}" for row in cells)
        return [Matrix(f"steered: {summary.behaviors[0]}", "cell", lines, columns, _effects(cells))]
    groups: dict[tuple[str, float, str | None], list[SummaryRow]] = {}
    for row in cells:
        groups.setdefault((row.name, row.strength, row.direction), []).append(row)
    return [
        Matrix(
            f"{label(rows[0], cells)} {rows[0].direction}",
            "steered",
            tuple(row.subject for row in rows),
            columns,
            _effects(rows),
        )
        for rows in groups.values()
    ]


def _effects(rows: Sequence[SummaryRow]) -> dict[tuple[int, str], Effect]:
    effects: dict[tuple[int, str], Effect] = {}
    for line, row in enumerate(rows):
        if row.shift is None or is_broken(row):
            continue
        effects[line, row.behavior] = Effect(row.shift, row.shift_ci, row.cell, own=True)
        for name, effect in (row.side_effects or {}).items():
            effects[line, name] = Effect(float(effect["shift"]), effect.get("ci"), row.cell)
    return effects


def side_effect_table(matrix: Matrix) -> Table:
    """The matrix as a table; a shift whose interval leaves out 0 has a star, the own behavior brackets."""
    columns = (Column(matrix.head, align="left"), *(Column(name, opens=f"{SIDE}{name}") for name in matrix.columns))
    cells = {i: effect.cell for (i, _), effect in matrix.effects.items()}
    rows = []
    for i, line in enumerate(matrix.lines):
        texts = (_text(matrix.effects.get((i, name))) for name in matrix.columns)
        rows.append(Row((line, *texts), matrix.title, cell=cells.get(i, "")))
    return Table(columns, tuple(rows))


def _text(effect: Effect | None) -> str:
    if effect is None:
        return NOTHING
    text = number(effect.shift, signed=True) + ("*" if effect.measurable else "")
    return f"({text})" if effect.own else text


@dataclass(frozen=True)
class SideEffectPanel(MapPanel):
    """A matrix as a map diverging from 0, the behavior that was to move framed.

    Attributes:
        matrix: what is shown.
        limit: the largest shift of all maps of the figure.
    """

    matrix: Matrix
    limit: float

    x_label: ClassVar[str] = "measured on"

    @property
    def scale(self) -> str:
        return "shift of p_match"

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
        paint(axes, values, self.limit)
        names = [shortened(name) for name in matrix.columns]
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(matrix.lines)), [shortened(line) for line in matrix.lines])
        for (line, name), effect in matrix.effects.items():
            self._cell(axes, matrix.columns.index(name), line, effect)

    def _cell(self, axes: Axes, x: int, y: int, effect: Effect) -> None:
        weight = "bold" if effect.measurable else "normal"
        write_value(axes, x, y, effect.shift, self.limit, fontweight=weight)
        if effect.own:
            frame(axes, x, y, clip_on=False)
        place = f"{self.matrix.lines[y]}, measured on {self.matrix.columns[x]}"
        text = f"{place}: {number(effect.shift, signed=True)} {interval(effect.interval)}"
        tip_cell(axes, x, y, text, cell=effect.cell, opens=f"{SIDE}{self.matrix.columns[x]}")


def side_effect_panels(summary: Summary) -> list[SideEffectPanel]:
    """A panel a matrix, all with one scale of colours; controls stand in the tables only."""
    every = matrices(Summary(tuple(row for row in summary.rows if not row.control)))
    limit = max((abs(effect.shift) for matrix in every for effect in matrix.effects.values()), default=0.0)
    return [SideEffectPanel(matrix.title, matrix, limit or 1.0) for matrix in every]


SECTION = EvaluationSection(side_effect_section, 1)
