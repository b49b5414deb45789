"""HTML's parts: texts with inline marks, and tables that can be sorted and filtered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from comparisons.util.table import NOTHING, Column, Row, Table

_MARKS = re.compile(
    r"\\(?P<plain>[\\`*|<_])"
    r"|(?P<fence>`+)(?P<code>.+?)(?P=fence)"
    r"|\*\*(?P<strong>(?:\\.|[^*\\])+)\*\*"
    r"|\*(?P<em>(?:\\.|[^*\\])+)\*"
)

MINOR = 8
"""A column of this rank or above is of second order: a wide table hides it until asked."""

LESSER = 3
"""A column of this rank or above is hidden on a narrow screen too."""

WIDE = 10
"""A table with fewer columns than this hides none."""

LONG = 40
"""Rows of a table that stands whole on the page; more are scrolled under their headings."""

_UNITS = {"%": 0.01, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def inline(text: str) -> str:
    """A block's text, with its inline marks, as HTML."""
    place, parts = 0, []
    for found in _MARKS.finditer(text):
        parts += [escape(text[place : found.start()]), _marked(found)]
        place = found.end()
    return "".join([*parts, escape(text[place:])])


def _marked(found: re.Match[str]) -> str:
    if found["plain"]:
        return escape(found["plain"])
    if found["code"]:
        return f"<code>{escape(found['code'])}</code>"
    kind = "strong" if found["strong"] else "em"
    return f"<{kind}>{inline(found[kind])}</{kind}>"


def unmarked(html: str) -> str:
    """An inline text's HTML without its tags, as a title has it."""
    return re.sub(r"</?(?:strong|em|code)>", "", html)


def html_table(table: Table, caption: str, behaviors: Sequence[str]) -> str:
    """A table, each interval in the cell of its number, and its notes as a list.

    Args:
        table: what it shows.
        caption: HTML that says what it is of.
        behaviors: of the report; rows of one can be filtered by it, and a column that would name the only one is left
            out.
    """
    if len(behaviors) == 1:  # then the page's title says it
        table = table.keeping(lambda i, column: column.title != "behavior")
    wide = sum(not column.interval for column in table.columns) >= WIDE
    look = ' class="wide"' if wide else ""
    place = "table long" if len(table.rows) > LONG else "table"
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return "\n".join(
        [
            f'<div class="{place}" role="group" tabindex="0" aria-label="{unmarked(caption)}">',
            f"<table{look}>",
            f"<caption>{caption}</caption>",
            f"<thead><tr>{_head(table.columns, wide)}</tr></thead>",
            "<tbody>",
            *(_line(table.columns, row, behaviors, wide) for row in table.rows),
            "</tbody>",
            "</table>",
            "</div>",
            *([f'<ul class="notes">{notes}</ul>'] if notes else []),
        ]
    )


def _joined(columns: Sequence[Column]) -> list[list[int]]:
    """Which columns stand together in a cell: each number, and the interval to its right."""
    found: list[list[int]] = []
    for i, column in enumerate(columns):
        if column.interval and found:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def _head(columns: Sequence[Column], wide: bool) -> str:
    cells = []
    for places in _joined(columns):
        first = columns[places[0]]
        titles = f"<span>{escape(first.title)}</span>"
        titles += "".join(f" <small>[{escape(columns[i].title)}]</small>" for i in places[1:])
        cells.append(f'<th scope="col"{_look(first, wide)}>{titles}</th>')
    return "".join(cells)


def _line(columns: Sequence[Column], row: Row, behaviors: Sequence[str], wide: bool) -> str:
    cells = []
    for number, places in enumerate(_joined(columns)):
        text = escape(row.cells[places[0]])
        text += "".join(f" <small>{escape(row.cells[i])}</small>" for i in places[1:] if row.cells[i] != NOTHING)
        value = sort_value(row.cells[places[0]])
        attributes = _look(columns[places[0]], wide) + ("" if value is None else f' data-value="{value:.12g}"')
        cells.append(f"<td{attributes}>{text}</td>" if number else f'<th scope="row"{attributes}>{text}</th>')
    about = f' data-behavior="{escape(row.group)}"' if row.group in behaviors else ""
    look = ' class="failed"' if row.failed else ""
    return f"<tr{about}{look}>{''.join(cells)}</tr>"


def _look(column: Column, wide: bool) -> str:
    """The classes of a column's cells."""
    names = ["number"] if column.align == "right" else ["prose"] if column.prose else []
    if wide and column.rank >= LESSER:
        names.append("minor" if column.rank >= MINOR else "lesser")
    return f' class="{" ".join(names)}"' if names else ""


def sort_value(text: str) -> float | None:
    """The number that a cell's text begins with, by which a column is sorted; None where it is no number."""
    found = re.match(r"\(?<?([+-]?[0-9][0-9,]*(?:\.[0-9]+)?)\)?\*?(?:\s?(%|KiB|MiB|GiB))?(?=[\s)*\[(]|$)", text)
    if found is None:
        return None
    return float(found[1].replace(",", "")) * _UNITS.get(found[2] or "", 1.0)
