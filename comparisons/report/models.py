"""Several models in one table: the same cell's shift on each."""

from __future__ import annotations

from comparisons.results.findings import estimate, is_broken
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, number

MODELS_TEXT = (
    "The shift of each cell with its 95% interval, and in the first line the baseline's p_match, model beside model. "
    "The models answer the same questions; a stack's settings are chosen, and its parts fitted, on each by itself."
)


def models_table(summary: Summary, behavior: str) -> Table:
    """A line a cell, a column a model."""
    rows = [row for row in summary.rows if row.behavior == behavior]
    found = {(row.model, _line(row)): row for row in rows}
    several = len({row.strength for row in rows if not row.is_baseline}) > 1
    titles = ["method", "direction", *(["strength"] if several else [])]
    columns = (*(Column(title, align="left") for title in titles), *(Column(name) for name in summary.models))
    lines = []
    for name, direction, strength in dict.fromkeys(_line(row) for row in sorted(rows, key=lambda r: not r.is_baseline)):
        head = (name, direction or NOTHING, *([NOTHING if direction is None else f"{strength:g}"] if several else []))
        values = (_value(found.get((model, (name, direction, strength)))) for model in summary.models)
        lines.append(Row((*head, *values), behavior))
    return Table(columns, tuple(lines))


def _line(row: SummaryRow) -> tuple[str, str | None, float]:
    return row.name, row.direction, row.strength


def _value(row: SummaryRow | None) -> str:
    if row is None:
        return NOTHING
    if row.failed:
        return "failed"
    if row.is_baseline:
        return number(row.p_match)
    return "broken" if is_broken(row) else estimate(row)
