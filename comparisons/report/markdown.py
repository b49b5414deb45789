"""A report as Markdown, and its parts: tables, pictures, code, and text that is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from comparisons.report.blocks import Block, Bullets, Caution, Code, Decision, Document, Folded, Heading, Paragraph
from comparisons.report.figures import Picture
from comparisons.util.table import NOTHING, Table


def markdown(document: Document) -> str:
    """Renders a report; its pictures lie in figures/ beside it."""
    return "\n\n".join([f"# {document.title}", *map(block_text, document.blocks)]) + "\n"


def block_text(block: Block) -> str:
    """A block in Markdown."""
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Decision():
            return _decision(block)
        case Caution(items):
            return "\n>\n".join(f"> {item}" for item in items)
        case Code(text, language):
            return fenced(text, language)
        case Picture():
            return image(block)
        case Folded(summary):
            return f"{escaped(summary)}: see report.html."
        case Table():
            return rendered(block) if block.few == block else _folded(block)


def _folded(table: Table) -> str:
    """A wide table: the columns that matter most, and all of them behind a line."""
    whole = f"<details>\n<summary>All columns</summary>\n\n{_lines(table.joined())}\n\n</details>"
    few, *notes = rendered(table.few).split("\n\n")
    return "\n\n".join([few, whole, *notes])


def _decision(block: Decision) -> str:
    limits = f"> {escaped(block.limits)}" if block.limits else ""
    numbers = (f"**{escaped(n.text)}** {escaped(f'{n.name} {n.note}')}" for n in block.numbers if n.text != NOTHING)
    parts = [limits, f"### {escaped(f'{block.aim}: {block.text}')}", " · ".join(numbers)]
    return "\n\n".join(part for part in parts if part)


def image(picture: Picture) -> str:
    """A picture of the report's folder."""
    return f"![{escaped(picture.text)}](figures/{picture.name})"


def rendered(table: Table) -> str:
    """A table in Markdown, each interval in the cell of its number, and its notes as a list."""
    notes = "\n".join(f"- {escaped(note)}" for note in table.notes)
    return _lines(table.joined()) + (f"\n\n{notes}" if notes else "")


def _lines(table: Table) -> str:
    lines = [_line(column.title for column in table.columns)]
    lines.append(f"| {' | '.join('---:' if column.align == 'right' else '---' for column in table.columns)} |")
    return "\n".join([*lines, *(_line(row.cells) for row in table.rows)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also inside a table."""
    text = " ".join(text.split())
    text = re.sub(r"([\\`*|]|<(?=[A-Za-z/!?]))", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
