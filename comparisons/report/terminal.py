"""Tables and whole reports for a terminal; tables leave columns out rather than wrap them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from comparisons.report.blocks import Block, Caution, Code, Document, Folded
from comparisons.report.figures import Picture
from comparisons.report.markdown import block_text
from comparisons.report.table import main_table
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import Column, Row, Table
from comparisons.util.terminal import printable

if TYPE_CHECKING:
    import rich.table
    from rich.console import RenderableType

GAP = 2

LEAST = 8
"""Characters that the first column keeps where the others need the room."""


def renderables(document: Document, width: int) -> Iterator[RenderableType]:
    """What Rich prints of a report, from top to bottom.

    Args:
        document: the report.
        width: columns of the terminal.
    """
    from rich.markdown import Markdown

    yield Markdown(printable(f"# {document.title}"))
    for block in document.blocks:
        yield ""
        yield _renderable(block, width)


def _renderable(block: Block, width: int) -> RenderableType:
    from rich.markdown import Markdown
    from rich.panel import Panel
    from rich.syntax import Syntax
    from rich.text import Text

    match block:
        case Caution(items):
            return Panel(Markdown(printable("\n\n".join(items))), style="yellow")
        case Code(text, language):
            return Syntax(printable(text.rstrip()), language, word_wrap=True, background_color="default")
        case Picture():
            return Text(printable(f"figures/{block.name}: {block.text}"), style="italic")
        case Folded(summary):
            return Text(printable(f"{summary}: see report.html."))
        case Table():
            return rich_table(block, width)
        case _:
            return Markdown(printable(block_text(block)))


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

    table = _fitting(whole, width)
    caption = Text("\n".join(_notes(whole, table)), style="italic")
    shown = RichTable(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        caption=caption if caption.plain else None,
        caption_justify="left",
    )
    for number, (column, width_of) in enumerate(zip(table.columns, _widths(table), strict=True)):
        # The name gives way where even the columns that matter most don't fit.
        least = width_of if number else min(width_of, LEAST)
        shown.add_column(column.title, justify=column.align, no_wrap=True, overflow="ellipsis", min_width=least)
    for row in table.rows:
        heading = len(row.cells) > 1 and not any(row.cells[1:])
        style = "bold" if heading else "red" if row.failed else None
        if heading and row is not table.rows[0]:
            shown.add_section()
        shown.add_row(*(Text(printable(cell)) for cell in row.cells), style=style)
    return shown


def _fitting(table: Table, width: int) -> Table:
    """Leaves out columns, the least important first, then the last, until the table fits with its first cut short."""
    while len(table.columns) > 2:
        first, *others = _widths(table)
        least = sum(others) + GAP * len(others) + (first if any(c.rank for c in table.columns) else min(first, LEAST))
        if least <= width:
            break
        worst = max(table.columns, key=lambda column: column.rank)
        worst = worst if worst.rank else table.columns[-1]
        table = table.keeping(lambda i, column, worst=worst: column is not worst)  # type: ignore[misc]
    return table


def _widths(table: Table) -> list[int]:
    """Characters of each column's longest text."""
    return [
        max(len(column.title), *(len(row.cells[number]) for row in table.rows))
        for number, column in enumerate(table.columns)
    ]


def _with_headings(rows: Sequence[SummaryRow]) -> Table:
    """The main table; where there are several behaviors, each is headed by a line with its name."""
    summary = Summary(tuple(rows))
    table = main_table([row for name in summary.subjects for row in summary.of(name)])
    if len(summary.subjects) == 1:
        return table
    lines: list[Row] = []
    for name in summary.subjects:
        lines.append(Row((name, *("" for _ in table.columns[1:])), name))
        of_subject = [row for row in table.rows if row.group == name]
        lines += [Row((f"  {row.cells[0]}", *row.cells[1:]), name, row.failed) for row in of_subject]
    return Table(table.columns, tuple(lines), table.notes)


def _notes(whole: Table, shown: Table) -> list[str]:
    left_out = [_title(whole, column) for column in whole.columns if column not in shown.columns]
    return [*([f"Not shown at this width: {', '.join(left_out)}."] if left_out else []), *whole.notes]


def _title(table: Table, column: Column) -> str:
    if not column.interval:
        return column.title
    return f"{table.columns[table.columns.index(column) - 1].title}'s {column.title}"
