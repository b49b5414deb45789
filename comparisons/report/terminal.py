"""The summary table for a terminal: it leaves columns out rather than wrapping them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from comparisons.report.table import main_table
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import Column, Row, Table
from comparisons.util.text import printable

if TYPE_CHECKING:
    import rich.table

GAP = 2


def terminal_table(rows: Sequence[SummaryRow], width: int = 140) -> rich.table.Table:
    """Makes the table of a run's rows that `compare run` and `compare report` print; see `rich_table`."""
    return rich_table(_with_headings(rows), width)


def rich_table(whole: Table, width: int = 140) -> rich.table.Table:
    """A table for a terminal.

    Args:
        whole: with every column.
        width: columns of the terminal; what matters least is left out, and named below the table.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = fitting(whole, width)
    caption = Text("\n".join(_notes(whole, table)), style="italic")
    made = RichTable(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        caption=caption if caption.plain else None,
        caption_justify="left",
    )
    for number, column in enumerate(table.columns):
        first = number == 0
        made.add_column(
            column.title,
            justify=column.align,
            no_wrap=True,
            overflow="ellipsis",
            # The name gives way where even the columns that matter most don't fit.
            min_width=8 if first else max(len(column.title), *(len(row.cells[number]) for row in table.rows)),
        )
    for row in table.rows:
        heading = len(row.cells) > 1 and not any(row.cells[1:])
        style = "bold" if heading else "red" if row.failed else None
        if heading and row is not table.rows[0]:
            made.add_section()
        made.add_row(*(Text(printable(cell)) for cell in row.cells), style=style)
    return made


def fitting(table: Table, width: int) -> Table:
    """Leaves out columns, the least important first, until the table fits."""
    while _width(table) > width and any(column.rank for column in table.columns):
        worst = max(table.columns, key=lambda column: column.rank)
        table = table.keeping(lambda i, column, worst=worst: column is not worst)  # type: ignore[misc]
    return table


def _with_headings(rows: Sequence[SummaryRow]) -> Table:
    """The main table; where there are several behaviors, each is headed by a line with its name."""
    summary = Summary(tuple(rows))
    found = main_table([row for name in summary.subjects for row in summary.of(name)])
    if len(summary.subjects) == 1:
        return found
    lines: list[Row] = []
    for name in summary.subjects:
        lines.append(Row((name, *("" for _ in found.columns[1:])), name))
        mine = [row for row in found.rows if row.group == name]
        lines += [Row((f"  {row.cells[0]}", *row.cells[1:]), name, row.failed) for row in mine]
    return Table(found.columns, tuple(lines), found.notes)


def _notes(whole: Table, shown: Table) -> list[str]:
    left_out = [_title(whole, column) for column in whole.columns if column not in shown.columns]
    return [*([f"Not shown at this width: {', '.join(left_out)}."] if left_out else []), *whole.notes]


def _title(table: Table, column: Column) -> str:
    if not column.interval:
        return column.title
    return f"{table.columns[table.columns.index(column) - 1].title}'s {column.title}"


def _width(table: Table) -> int:
    widths = [max(len(text) for text in texts) for texts in zip(*(row.cells for row in table.rows), strict=True)]
    return sum(max(w, len(c.title)) + GAP for w, c in zip(widths, table.columns, strict=True)) - GAP
