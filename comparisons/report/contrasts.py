"""Methods against each other: a matrix of contrasts for each behavior and direction, and all of them as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from comparisons.report.blocks import Block, Folded, Heading, Paragraph, section
from comparisons.report.markdown import escaped
from comparisons.results.contrasts import between
from comparisons.results.findings import MOST_COMPARED, intended, rounded
from comparisons.results.record import Record
from comparisons.results.schema import Contrast
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.directions import DIRECTIONS
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number, p_value

WIDEST = 8
"""Cells of a matrix; of more it has the furthest of each method."""

TITLE = "Methods against each other"

TOO_MANY = (
    f"With more than {MOST_COMPARED} cells of a behavior and direction not every two are compared: "
    "`compare diff RUN CELL CELL` compares any two."
)

TEXT = (
    "The shift of the line's cell minus that of the column's, towards the direction asked for, on the same questions, "
    "with a 95% interval that holds over all pairs of the behavior and direction at once. *Better* and *worse*: the "
    "interval leaves out 0. *Equivalent*: two one-sided tests find the difference within ±{margin:g}, the margin that "
    "was set before the questions were asked. *Undecided*: neither."
)

ALL: tuple[tuple[Column, Callable[[Contrast], str]], ...] = (
    (Column("behavior", align="left"), lambda c: c["behavior"]),
    (Column("direction", align="left"), lambda c: c["direction"]),
    (Column("cell", align="left"), lambda c: c["a"].partition("/")[2]),
    (Column("against", align="left"), lambda c: c["b"].partition("/")[2]),
    (Column("difference"), lambda c: number(c["difference"], signed=True)),
    (Column("95% CI", interval=True), lambda c: interval(c["ci"])),
    (Column("over all pairs", rank=1), lambda c: interval(c["simultaneous_ci"])),
    (Column("p (max-T)", rank=1), lambda c: p_value(c["p_adjusted"])),
    (Column("verdict", align="left"), lambda c: c["verdict"]),
    (Column("questions", rank=4), lambda c: count(c["n_items"])),
    (Column("clusters", rank=4), lambda c: count(c["n_clusters"])),
    (Column("fits", rank=4), lambda c: count(c["n_seeds"] if c["n_seeds"] > 1 else None)),
    (Column("questions needed", rank=3), lambda c: _about(c.get("items_needed"))),
    (Column("content", rank=5), lambda c: number(_part(c, "content").get("difference"), signed=True)),
    (Column("95% CI", rank=5, interval=True), lambda c: interval(_part(c, "content").get("ci"))),
    (Column("cost", rank=2), lambda c: number(_part(c, "cost").get("difference"), signed=True)),
    (Column("95% CI", rank=2, interval=True), lambda c: interval(_part(c, "cost").get("ci"))),
    (Column("by cost", rank=2, align="left"), lambda c: _part(c, "cost").get("verdict", NOTHING)),
)


def contrast_section(record: Record) -> list[Block]:
    """What each method does against each other; nothing where no two cells of a direction are usable."""
    summary = record.summary
    if not summary.contrasts:
        sides = Counter((row.subject, row.direction) for row in summary.rows)
        return section(TITLE, Paragraph(TOO_MANY)) if max(sides.values()) > MOST_COMPARED else []
    blocks = section(TITLE, Paragraph(TEXT.format(margin=summary.contrasts[0]["margin"])))
    for name in summary.subjects:
        tables = [table for direction in DIRECTIONS if (table := matrix(summary, name, direction)) is not None]
        blocks += [Heading(escaped(name), 3), *tables] if tables else []
    return [*blocks, Folded("All contrasts, with their own intervals, content and cost", contrast_table(summary))]


def contrast_table(summary: Summary) -> Table:
    """Every contrast, a line each."""
    subjects = {row.cell: row.subject for row in summary.rows}
    return Table.of(ALL, summary.contrasts, lambda c: subjects.get(c["a"], c["behavior"])).without_empty()


def two_table(contrast: Contrast) -> Table:
    """One contrast, a line a measure."""
    parts = {"p_match": contrast, "content logit": contrast.get("content"), "knowledge cost": contrast.get("cost")}
    columns = (Column("measure", align="left"), Column("difference"), Column("95% CI", interval=True), Column("p"))
    lines = [
        Row((name, number(part["difference"], signed=True), interval(part["ci"]), p_value(part["p_adjusted"])), "")
        for name, part in parts.items()
        if part is not None
    ]
    reason = contrast.get("reason")
    why = f": {reason}" if reason else ""
    notes = [
        f"{contrast['a']} minus {contrast['b']}, on {contrast['n_items']} questions"
        + (f" of {contrast['n_clusters']} templates." if contrast["n_clusters"] < contrast["n_items"] else "."),
        f"Towards {contrast['direction']}, by a margin of {contrast['margin']:g}: {contrast['verdict']}{why}.",
    ]
    if needed := contrast.get("items_needed"):
        notes.append(f"About {rounded(needed)} questions would tell.")
    return Table(columns, tuple(lines), tuple(notes))


def matrix(summary: Summary, subject: str, direction: str) -> Table | None:
    """Cell against cell of one direction; None with fewer than two."""
    rows = _shown([row for row in summary.of(subject) if row.direction == direction], summary.contrasts)
    if len(rows) < 2:
        return None
    several = len({row.name for row in rows}) < len(rows)
    names = [f"{row.name} {row.strength:g}" if several else row.name for row in rows]
    found = [[between(summary.contrasts, a.cell, b.cell) for b in rows] for a in rows]
    columns = (
        Column(f"{direction}: against", align="left"),
        *(Column(n, opens="choices", against=r.cell) for n, r in zip(names, rows, strict=True)),
    )
    lines = tuple(
        Row((name, *map(_entry, line)), subject, cell=row.cell)
        for name, row, line in zip(names, rows, found, strict=True)
    )
    pairs = [(names[i], names[j], found[i][j]) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    most = max(row.n_items or 0 for row in rows)
    return Table(columns, lines, tuple(note for a, b, each in pairs if each for note in _notes(a, b, each, most)))


def _shown(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[SummaryRow]:
    """The cells that were compared, furthest first; of many only the furthest of each method."""
    compared = {cell for each in contrasts for cell in (each["a"], each["b"])}
    ordered = sorted((row for row in rows if row.cell in compared), key=lambda row: -intended(row))
    if len(ordered) <= WIDEST:
        return ordered
    furthest: dict[str, SummaryRow] = {}
    for row in ordered:
        furthest.setdefault(row.name, row)
    return list(furthest.values())


def _entry(contrast: Contrast | None) -> str:
    if contrast is None:
        return NOTHING
    parts = (number(contrast["difference"], signed=True), interval(contrast["simultaneous_ci"]), contrast["verdict"])
    return " ".join(part for part in parts if part != NOTHING)


def _notes(a: str, b: str, contrast: Contrast, most: int) -> list[str]:
    """On how many questions two cells were compared, where one lacks some, and why they are undecided."""
    notes = []
    if contrast["n_items"] < most:
        notes.append(f"{a} against {b}: on the {contrast['n_items']} of {most} questions that both answered.")
    if reason := contrast.get("reason"):
        notes.append(f"{a} against {b}: {reason}.")
    elif needed := contrast.get("items_needed"):
        notes.append(f"{a} against {b}: about {rounded(needed)} questions would tell; here are {contrast['n_items']}.")
    return notes


def _part(contrast: Contrast, name: Literal["content", "cost"]) -> Mapping[str, Any]:
    """What it says of content or cost; nothing where there is none."""
    return contrast.get(name) or {}


def _about(needed: int | None) -> str:
    return NOTHING if needed is None else rounded(needed)
