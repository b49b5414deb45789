"""A report for a terminal, block by block; tables leave columns out rather than wrap them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from comparisons.report.blocks import Block, Bullets, Caution, Code, Document, Folded, Heading, Paragraph
from comparisons.report.figures import Picture
from comparisons.report.terminal import rich_table
from comparisons.util.table import Table
from comparisons.util.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType


def renderables(document: Document, width: int) -> Iterator[RenderableType]:
    """What Rich prints, from top to bottom.

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
        case Heading(text, level):
            return Markdown(printable(f"{'#' * level} {text}"))
        case Paragraph(text):
            return Markdown(printable(text))
        case Bullets(items):
            return Markdown(printable("\n".join(f"- {item}" for item in items)))
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
