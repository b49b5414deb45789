"""Templates and what they show: texts with inline marks, and tables that can be sorted and filtered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.util.table import NOTHING, Column, Row, Table

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = Path(__file__).parent.parent
"""Where paths of templates, styles and scripts begin."""

_MARKS = re.compile(
    r"\\(?P<plain>[\\`*|<_])"
    r"|(?P<fence>`+)(?P<code>.+?)(?P=fence)"
    r"|\*\*(?P<strong>(?:\\.|[^*\\])+)\*\*"
    r"|\*(?P<em>(?:\\.|[^*\\])+)\*"
)

LESSER = 2
"""A column of this rank or above is hidden on a narrow screen too."""

LONG = 40
"""Rows of a table that stands whole on the page; more are scrolled under their headings."""

_UNITS = {"%": 0.01, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def fill(template: str, **values: Any) -> str:
    """Fills a template; all but those of programs, .txt, escape every text.

    Args:
        template: its path in this package, as "report/templates/page.html".
        values: what it shows.
    """
    return _environment().get_template(template).render(values)


def asset(path: str) -> str:
    """A style or a script of this package."""
    return (PACKAGE / path).read_text(encoding="utf-8")


def inline(text: str) -> str:
    """A block's text, with its inline marks, as HTML."""
    macros: Any = _environment().get_template("report/templates/text.html").module
    return str(macros.inline(text))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=lambda name: not str(name).endswith(".txt"),
        auto_reload=False,
        keep_trailing_newline=True,
        loader=FileSystemLoader(PACKAGE),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"marks": marks, "plain": plain, "table_view": table_view}
    return environment


def marks(text: str) -> list[tuple[str, str]]:
    """The parts of a text with inline marks: "strong", "em" or "code" and what is so marked, "" and what isn't."""
    place, parts = 0, []
    for mark in _MARKS.finditer(text):
        kind = next((kind for kind in ("strong", "em", "code") if mark[kind]), "")
        parts += [("", text[place : mark.start()]), (kind, mark[kind or "plain"])]
        place = mark.end()
    return [*parts, ("", text[place:])]


def plain(text: str) -> str:
    """A text without its inline marks, as a title has it."""
    return "".join(plain(part) if kind in ("strong", "em") else part for kind, part in marks(text))


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its tag and attributes, its text, and that of the interval beside its number."""

    tag: str
    attributes: Mapping[str, str | None]
    text: str
    intervals: Sequence[str] = field(default=())


@dataclass(frozen=True)
class TableView:
    """A table as the template writes it, each interval in the cell of its number.

    Attributes:
        head: the headings.
        rows: attributes and cells of each.
        wide: whether it has columns that are hidden until asked.
        long: whether it is scrolled under its headings.
    """

    head: Sequence[Cell]
    rows: Sequence[tuple[Mapping[str, str | None], Sequence[Cell]]]
    wide: bool
    long: bool


def table_view(table: Table, behaviors: Sequence[str]) -> TableView:
    """What the template writes of a table.

    Args:
        table: what it shows.
        behaviors: of the report; rows of one can be filtered by it, and a column that would name the only one is left
            out.
    """
    if len(behaviors) == 1:  # then the page's title says it
        table = table.keeping(lambda i, column: column.title != "behavior")
    places: list[list[int]] = []
    for i, column in enumerate(table.columns):
        if column.interval and places:
            places[-1].append(i)
        else:
            places.append([i])
    wide, few = table.few != table, table.few.columns
    looks = [_look(table.columns[first], wide, table.columns[first] in few) for first, *_ in places]
    opens = [{"data-opens": c.opens, "data-against": c.against} for c in (table.columns[place[0]] for place in places)]
    titles = [column.title for column in table.columns]
    head = [
        Cell("th", {"scope": "col", "class": look}, titles[first], [titles[i] for i in intervals])
        for look, (first, *intervals) in zip(looks, places, strict=True)
    ]
    titled = [titles[first] if table.columns[first].prose else None for first, *_ in places]
    rows = [(_row(row, behaviors), _cells(row, places, looks, opens, titled)) for row in table.rows]
    return TableView(head, rows, wide, len(table.rows) > LONG)


def _row(row: Row, behaviors: Sequence[str]) -> dict[str, str | None]:
    about = row.group if row.group in behaviors else None
    return {"data-behavior": about, "class": "failed" if row.failed else None, "data-cell": row.cell or None}


def _cells(
    row: Row,
    places: Sequence[Sequence[int]],
    looks: Sequence[str | None],
    opens: Sequence[Mapping[str, str]],
    titled: Sequence[str | None],
) -> list[Cell]:
    cells = []
    for number, (look, opened, title, (first, *intervals)) in enumerate(zip(looks, opens, titled, places, strict=True)):
        value = sort_value(row.cells[first])
        attributes = {"class": look, "data-value": None if value is None else f"{value:.12g}"}
        attributes |= {"data-title": title} if number else {}
        if row.cell and value is not None:
            attributes |= {name: text for name, text in opened.items() if text}
        bounds = [row.cells[i] for i in intervals if row.cells[i] != NOTHING]
        tag, scope = ("td", {}) if number else ("th", {"scope": "row"})
        cells.append(Cell(tag, {**scope, **attributes}, row.cells[first], bounds))
    return cells


def _look(column: Column, wide: bool, matters: bool) -> str | None:
    names = ["number"] if column.align == "right" else ["prose"] if column.prose else []
    if wide and not (matters and column.rank < LESSER):
        names.append("lesser" if matters else "minor")
    return " ".join(names) or None


def sort_value(text: str) -> float | None:
    """The number that a cell's text begins with, by which a column is sorted; None where it is no number."""
    number = re.match(r"\(?<?([+-]?[0-9][0-9,]*(?:\.[0-9]+)?)\)?\*?(?:\s?(%|KiB|MiB|GiB))?(?=[\s)*\[(]|$)", text)
    if number is None:
        return None
    return float(number[1].replace(",", "")) * _UNITS.get(number[2] or "", 1.0)
