"""report.html: a report as one file that opens from disk, without network, in light and dark, on screen and paper."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparisons.report.blocks import Block, Blocks, Document, Folded, Heading
from comparisons.report.figures import PAGE_COLORS, charts
from comparisons.report.markdown import escaped
from comparisons.report.templating import asset, fill, plain
from comparisons.util.table import Table, number

UNFOLDED = 6
"""Parts of a section that stand open; of more, a page shows that they are there."""


@dataclass(frozen=True)
class Part:
    """A part of a section.

    Attributes:
        title: with inline marks; "" for what stands before the first part that has one.
        behavior: what it is about, for the filter; None for several.
        blocks: captions, for those that have one, and blocks.
    """

    title: str
    behavior: str | None
    blocks: Sequence[tuple[str, Block]]


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        slug: its id; "" for what stands before the first section.
        title: with inline marks.
        parts: those that stand open.
        folded: those that are shown when asked.
    """

    slug: str
    title: str
    parts: Sequence[Part]
    folded: Sequence[Part]


def page(document: Document) -> str:
    """Renders a report as a whole HTML file."""
    script = asset("report/templates/page.js")
    # Only this script runs, and nothing is loaded: also not by what might slip through as a tag.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = list(_sections(document))
    return fill(
        "report/templates/page.html",
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
        title=document.title,
        sections=sections,
        # What is above the first table needs no filter.
        first_table=next((i for i, section in enumerate(sections) if _has_table(section)), None),
        # The answer first, then what else there is.
        first_section=next((i for i, section in enumerate(sections) if section.slug), None),
        behaviors=document.behaviors,
        items=_data(document.items) if document.items else None,
        script=script,
        style=asset("report/templates/page.css"),
        behavior_of=lambda title: _behavior(document, title),
        charts=charts,
        colors=PAGE_COLORS,
        kind_of=lambda block: type(block).__name__,
        number=number,
        unbroken=_unbroken,
    )


def _data(value: Mapping[str, Any]) -> str:
    """JSON that stands in a script element, which no text of it can close."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _has_table(section: Section) -> bool:
    blocks = [block for part in (*section.parts, *section.folded) for _, block in part.blocks]
    tables = [block.table if isinstance(block, Folded) else block for block in blocks]
    return any(isinstance(table, Table) and not table.columns[0].prose for table in tables)


def _sections(document: Document) -> Iterator[Section]:
    slugs: dict[str, int] = {}
    for heading, blocks in _split(document.blocks, 2):
        title = heading.text if heading else ""
        slug = ""
        if heading:
            slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
            slugs[slug] = slugs.get(slug, 0) + 1
            slug += f"-{slugs[slug]}" if slugs[slug] > 1 else ""
        parts = [_part(document, title, part, inner) for part, inner in _split(blocks, 3)]
        shown = [part for part in parts if not part.title or part.behavior is not None]
        others = [part for part in parts if part.title and part.behavior is None]
        folded = others if len(others) > UNFOLDED else []
        yield Section(slug, title, shown if folded else [*shown, *others], folded)


def _split(blocks: Blocks, level: int) -> Iterator[tuple[Heading | None, list[Block]]]:
    """Blocks by the headings of a level; those before the first come with None."""
    heading: Heading | None = None
    under: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading) and block.level == level:
            if heading is not None or under:
                yield heading, under
            heading, under = block, []
        else:
            under.append(block)
    yield heading, under


def _part(document: Document, section: str, heading: Heading | None, blocks: Blocks) -> Part:
    """A part; a table's caption is what the headings say, with its place among several."""
    title = heading.text if heading else ""
    behavior = next((name for name in document.behaviors if name == plain(title)), None) if heading else None
    caption = f"{section}: {title}" if heading else section
    several = sum(isinstance(block, Table) for block in blocks) > 1
    captioned: list[tuple[str, Block]] = []
    number = 0
    for block in blocks:
        number += isinstance(block, Table)
        text = escaped(block.summary) if isinstance(block, Folded) else f"{caption} ({number})" if several else caption
        captioned.append((text, block))
    return Part(title, behavior, captioned)


def _unbroken(text: str) -> str:
    """A text whose intervals stay on one line."""
    return re.sub(r"\[([-+.0-9]+), ([-+.0-9]+)\]", "[\\1,\u00a0\\2]", text)


def _behavior(document: Document, title: str) -> str | None:
    """What a panel is about: a panel of one behavior begins with its name."""
    names = [name for name in document.behaviors if re.match(rf"{re.escape(name)}(?=[\s,:]|$)", title)]
    return max(names, key=len, default=None)
