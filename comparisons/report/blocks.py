"""A report as data: the blocks that every renderer writes in its own way.

Texts hold Markdown's inline marks (`**strong**`, `*emphasis*`, a code span) and nothing else of it; what comes from
outside, a name or an error, goes through `markdown.escaped` first and is then shown as it is. A `Table`'s cells and
notes and a `Picture`'s text are plain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from comparisons.report.figures import Picture
from comparisons.util.table import Table


@dataclass(frozen=True)
class Heading:
    """A heading; level 2 begins a section, level 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Caution:
    """What must be known before any number is read, a line each."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """A program or commands, to be copied."""

    text: str
    language: str


@dataclass(frozen=True)
class Folded:
    """A long table that a page shows when asked; elsewhere a line says where it is.

    Attributes:
        summary: what it holds, plain.
        table: it.
    """

    summary: str
    table: Table


@dataclass(frozen=True)
class Number:
    """A number that decides.

    Attributes:
        text: it, as it is shown.
        name: what it is.
        note: its interval, or why there is none.
        opens: the evaluation whose questions are behind it; "" where none can be shown.
    """

    text: str
    name: str
    note: str = ""
    opens: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do about a behavior in one direction.

    Attributes:
        behavior: which, plain, as are all of its texts.
        aim: what for, as a sentence begins.
        text: what to do.
        numbers: of the cell that it is about.
        cell: its key.
        limits: what must be known first, in a few words.
    """

    behavior: str
    aim: str
    text: str
    numbers: tuple[Number, ...] = ()
    cell: str = ""
    limits: str = ""


Block: TypeAlias = Heading | Paragraph | Bullets | Caution | Code | Table | Picture | Folded | Decision
Blocks: TypeAlias = Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its first heading, with inline marks.
        blocks: from top to bottom.
        behaviors: what can be asked for by name in it.
        items: the questions behind its numbers, as `report.items` makes them; None without them.
    """

    title: str
    blocks: tuple[Block, ...]
    behaviors: tuple[str, ...] = ()
    items: Mapping[str, Any] | None = None


def section(title: str, *blocks: Block) -> list[Block]:
    """A section: its heading and what it holds."""
    return [Heading(title), *blocks]


def filled(title: str, table: Table | None, text: str) -> list[Block]:
    """A section of one table and what it means; none without the table."""
    return [] if table is None else section(title, Paragraph(text), table)
