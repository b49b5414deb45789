"""A table as data, which every renderer draws, and how numbers stand in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

NOTHING = "–"

WIDE, FEW = 9, 6
"""A table with as many columns shows only the few that matter most until all are asked for."""

T = TypeVar("T")

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        rank: how soon a renderer without room leaves it out: the highest first, 0 never.
        interval: whether it is the interval of the number to its left, which a renderer may write into one cell.
        prose: whether its cells are sentences, which need room.
        opens: the evaluation whose questions are behind its numbers; "" where a page can't open them.
        against: the key of the cell that its numbers compare a row's with; "" for the unchanged model.
    """

    title: str
    rank: int = 0
    align: Literal["left", "right"] = "right"
    interval: bool = False
    prose: bool = False
    opens: str = ""
    against: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        cells: plain text, one for each column.
        group: the behavior it belongs to.
        failed: whether the cell it shows failed.
        cell: the key of the run's cell that it shows; "" for none.
    """

    cells: tuple[str, ...]
    group: str
    failed: bool = False
    cell: str = ""


@dataclass(frozen=True)
class Table:
    """Columns, rows, and what must be said below them.

    Attributes:
        notes: plain text, one line each.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        fields: Sequence[tuple[Column, Callable[[T], str]]],
        values: Iterable[T],
        group: Callable[[T], str] = lambda value: "",
        notes: Sequence[str] = (),
        cell: Callable[[T], str] = lambda value: "",
    ) -> Table:
        """A table of values, a row each.

        Args:
            fields: each column, and what stands in it of a value.
            group: of a value's row.
            cell: the key of the run's cell that a value's row shows.
        """
        rows = tuple(Row(tuple(text(value) for _, text in fields), group(value), cell=cell(value)) for value in values)
        return cls(tuple(column for column, _ in fields), rows, tuple(notes))

    def keeping(self, keep: Callable[[int, Column], bool]) -> Table:
        """The same table with only some of its columns."""
        kept = [i for i, column in enumerate(self.columns) if keep(i, column)]
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in self.rows)
        return Table(tuple(self.columns[i] for i in kept), rows, self.notes)

    @property
    def few(self) -> Table:
        """The columns that matter most, with their intervals, of a wide table; of another all."""
        numbers = [i for i, column in enumerate(self.columns) if not column.interval]
        if len(numbers) < WIDE or not any(column.rank for column in self.columns):
            return self
        kept = set(sorted(numbers, key=lambda i: self.columns[i].rank)[:FEW])
        # An interval goes with the number before it.
        return self.keeping(lambda i, column: max(n for n in numbers if n <= i) in kept)

    def joined(self) -> Table:
        """The same table with each interval in the cell of the number to its left."""

        def together(texts: Sequence[str]) -> tuple[str, ...]:
            cells: list[str] = []
            for column, text in zip(self.columns, texts, strict=True):
                if not column.interval:
                    cells.append(text)
                elif text != NOTHING:
                    cells[-1] += f" {text}"
            return tuple(cells)

        titles = together([f"[{column.title}]" if column.interval else column.title for column in self.columns])
        kept = [column for column in self.columns if not column.interval]
        columns = tuple(replace(column, title=title) for column, title in zip(kept, titles, strict=True))
        return Table(columns, tuple(replace(row, cells=together(row.cells)) for row in self.rows), self.notes)

    def without_empty(self) -> Table:
        """The same table without the columns that hold nothing."""
        return self.keeping(lambda i, column: any(row.cells[i] not in ("", NOTHING) for row in self.rows))


@dataclass(frozen=True)
class Section:
    """A section of a report as data: what a plugin has to say.

    Attributes:
        title: its heading, plain text.
        text: what the table shows, plain text.
        table: it.
    """

    title: str
    text: str
    table: Table


def number(value: float | None, signed: bool = False, places: int = 3) -> str:
    """A number with its places; a negative one that rounds to 0 loses its sign."""
    return NOTHING if value is None else f"{round(value, places) + 0.0:{'+' if signed else ''}.{places}f}"


def interval(value: Sequence[float] | None, places: int = 3) -> str:
    """An interval in brackets."""
    return NOTHING if value is None else f"[{number(value[0], places=places)}, {number(value[1], places=places)}]"


def p_value(value: float | None) -> str:
    """A p-value with three places, never a plain 0."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share as a whole percentage."""
    return NOTHING if value is None else f"{100 * value:.0f}%"


def count(value: int | None) -> str:
    """A whole number with thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def memory(value: int | None) -> str:
    """Bytes in KiB, MiB or GiB."""
    if value is None:
        return NOTHING
    if value < 2**20:
        return f"{value / 2**10:.0f} KiB"
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def no_formula(cell: object) -> object:
    """A cell of a table for spreadsheets: text that would be a formula gets an apostrophe, numbers stay."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
