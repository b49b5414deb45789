"""The area under each method's frontier, as the report has it."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.report.blocks import Block, Paragraph
from comparisons.results.costs import Frontier
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Column, Row, Table, interval, number

TEXT = (
    "Area is one number a method: the mean, over all costs from 0 to that of the cell that moves furthest, of the "
    "largest shift that the method has within the cost, of the strengths that were tried. A method without a dose has "
    "its one shift from its cost on, and nothing below."
)

COLUMNS = (
    Column("behavior", align="left"),
    Column("direction", align="left"),
    Column("method", align="left"),
    Column("area"),
    Column("95% CI", interval=True),
    Column("up to"),
)


def area_blocks(placed: Sequence[tuple[SummaryRow, Frontier]]) -> list[Block]:
    """A line a method and direction, the largest area first; nothing where none was found.

    Args:
        placed: cells with their places.
    """
    lines = {(r.subject, r.direction or "", r.name): place for r, place in placed if place.get("area") is not None}
    ordered = sorted(lines.items(), key=lambda line: (*line[0][:2], -(line[1].get("area") or 0)))
    rows = [
        Row((*line, number(place.get("area")), _interval(place), number(place.get("area_to"))), line[0])
        for line, place in ordered
    ]
    return [Paragraph(TEXT), Table(COLUMNS, tuple(rows))] if rows else []


def _interval(place: Frontier) -> str:
    bounds = place.get("area_ci")
    return "no interval" if bounds is None else interval(bounds)
