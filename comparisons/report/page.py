"""report.html: a report as one file that opens from disk, without network, in light and dark, on screen and paper."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from comparisons.report.blocks import Block, Blocks, Bullets, Caution, Code, Document, Folded, Heading, Paragraph
from comparisons.report.charts import Chart, charts
from comparisons.report.figures import Picture
from comparisons.report.htmltext import html_table, inline, unmarked
from comparisons.util.table import Table

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{plain}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#report">To the report</a>
<nav aria-label="Contents">
<ul>
{links}
</ul>
</nav>
<main id="report">
<h1>{title}</h1>
{body}
</main>
<div id="tip" role="status"></div>
<script>{script}</script>
</body>
</html>
"""

TOOLBAR = """\
<form id="filter" role="search" hidden>
<label>Filter rows <input id="words" type="search" autocomplete="off"></label>
{choice}<output id="count" aria-live="polite"></output>
</form>"""

CHOICE = '<label>Behavior <select id="behavior"><option value="">all</option>{options}</select></label>\n'


UNFOLDED = 6
"""Parts of a section that stand open; of more, a page shows that they are there."""


def page(document: Document) -> str:
    """Renders a report as a whole HTML file."""
    title, script = inline(document.title), _asset("page.js")
    # Only this script runs, and nothing is loaded: also not by what might slip through as a tag.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    parts = list(_parts(document))
    first = next((i for i, (_, _, html) in enumerate(parts) if "<table" in html), len(parts))
    bodies = [html for _, _, html in parts]
    return PAGE.format(
        policy=policy,
        plain=unmarked(title),
        style=_asset("page.css"),
        links="\n".join(f'<li><a href="#{slug}">{heading}</a></li>' for slug, heading, _ in parts if heading),
        title=title,
        # What is above the first table needs no filter.
        body="\n".join([*bodies[:first], _toolbar(document.behaviors), *bodies[first:]]),
        script=script,
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _toolbar(behaviors: Sequence[str]) -> str:
    """What narrows the tables; hidden until the script is there to do it."""
    options = "".join(f"<option>{escape(name)}</option>" for name in behaviors)
    return TOOLBAR.format(choice=CHOICE.format(options=options) if len(behaviors) > 1 else "")


def _parts(document: Document) -> Iterator[tuple[str, str, str]]:
    """Slug, heading and HTML of each section; what stands before the first has no heading."""
    slugs: dict[str, int] = {}
    for heading, blocks in _split(document.blocks, 2):
        if heading is None:
            yield "", "", _inner(document, "", blocks)
            continue
        title = inline(heading.text)
        slug = re.sub(r"[^a-z0-9]+", "-", heading.text.lower()).strip("-") or "section"
        slugs[slug] = slugs.get(slug, 0) + 1
        slug += f"-{slugs[slug]}" if slugs[slug] > 1 else ""
        head = f'<section id="{slug}" aria-labelledby="{slug}-title">\n<h2 id="{slug}-title">{title}</h2>'
        yield slug, title, f"{head}\n{_inner(document, title, blocks)}\n</section>"


def _split(blocks: Blocks, level: int) -> Iterator[tuple[Heading | None, list[Block]]]:
    """Blocks by the headings of a level; those before the first come with None."""
    heading: Heading | None = None
    mine: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading) and block.level == level:
            if heading is not None or mine:
                yield heading, mine
            heading, mine = block, []
        else:
            mine.append(block)
    yield heading, mine


def _inner(document: Document, title: str, blocks: Blocks) -> str:
    """A section's content; a part that is about one behavior says so, for the filter, and many others are folded."""
    found: list[str] = []
    others: list[str] = []
    for heading, mine in _split(blocks, 3):
        if heading is None:
            found.append(_blocks(document, title, mine))
            continue
        name = inline(heading.text)
        about = next((behavior for behavior in document.behaviors if escape(behavior) == name), None)
        html = _blocks(document, f"{title}: {name}", mine)
        part = f"<div{_about(about)}>\n<h3>{name}</h3>\n{html}\n</div>"
        (others if about is None else found).append(part)
    if len(others) > UNFOLDED:
        summary = f"<summary>{title}: all {len(others)} tables</summary>"
        others = [f"<details>\n{summary}", *others, "</details>"]
    return "\n".join(part for part in [*found, *others] if part)


def _about(behavior: str | None) -> str:
    return "" if behavior is None else f' data-behavior="{escape(behavior)}"'


def _blocks(document: Document, caption: str, blocks: Blocks) -> str:
    """The blocks' HTML; a table's caption is what its headings say, with its place among several."""
    several = sum(isinstance(block, Table) for block in blocks) > 1
    found, number = [], 0
    for block in blocks:
        number += isinstance(block, Table)
        found.append(_block(document, f"{caption} ({number})" if several else caption, block))
    return "\n".join(found)


def _block(document: Document, caption: str, block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_flowing(text)}</p>"
        case Bullets(items):
            return _list(items)
        case Caution(items):
            return f'<div class="caution" role="note">\n{_list(items)}\n</div>'
        case Code(text, language):
            code = f'<code class="{escape(language)}">{escape(text.rstrip())}</code>'
            return f'<div class="code"><pre tabindex="0">{code}</pre></div>'
        case Picture():
            return _figure(document, block)
        case Folded(summary, table):
            title = escape(summary)
            return f"<details>\n<summary>{title}</summary>\n{html_table(table, title, document.behaviors)}\n</details>"
        case Table():
            return html_table(block, caption, document.behaviors)


def _flowing(text: str) -> str:
    """An inline text whose intervals stay on one line."""
    return re.sub(r"\[([-+.0-9]+), ([-+.0-9]+)\]", "[\\1,\u00a0\\2]", inline(text))


def _list(items: Sequence[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{_flowing(item)}</li>" for item in items) + "\n</ul>"


def _figure(document: Document, picture: Picture) -> str:
    found, keys = charts(picture)
    legend = "".join(f"<li>{key.svg}{escape(key.text)}</li>" for key in keys)
    drawn = "\n".join(
        f'<div class="panel{" wide" if chart.wide else ""}"{_about(_behavior(document, chart))}>'
        f"<p>{'<br>'.join(map(escape, chart.title.splitlines()))}</p>{chart.svg}</div>"
        for chart in found
    )
    caption = f"<figcaption>{escape(picture.text)}</figcaption>"
    return (
        f'<figure>\n{caption}\n<div class="panels">\n{drawn}\n</div>\n'
        + (f'<ul class="legend">{legend}</ul>\n' if legend else "")
        + "</figure>"
    )


def _behavior(document: Document, chart: Chart) -> str | None:
    """What a panel is about: a panel of one behavior begins with its name."""
    words = [name for name in document.behaviors if re.match(rf"{re.escape(name)}(?=[\s,:]|$)", chart.title)]
    return max(words, key=len, default=None)
