"""Shifts by the items' label, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.report.table import BROKEN_CELLS, cell_name
from comparisons.results.findings import is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number

LABELS_TEXT = (
    "The same shift by what the data says of each question (its label). A behavior that really changes does so "
    "under every label. Where the shifts of two labels have opposite signs, or their difference is far from 0, "
    "the cell moves one kind of answer and not the behavior: what looks like honesty can be a bias to say yes, "
    "which gains on claims that are true and loses as much on those that are false. A difference is the second "
    "label's shift minus the first's; its interval is not corrected for the number of comparisons."
)

COLUMNS = (
    Column("behavior", align="left"),
    Column("method", align="left"),
    Column("direction", align="left"),
    Column("strength", rank=1),
    Column("label", align="left"),
    Column("questions", rank=2),
    Column("shift"),
    Column("95% CI", interval=True),
)


def label_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and label and for the difference of each two labels; None where no item has a label.

    A cell that is broken, because more than half of the probability left the letters, shows no shift.
    """
    asked = [row for row in rows if row.labels]
    if not asked:
        return None
    lines = tuple(Row(cells, row.subject) for row in asked for cells in _lines(row))
    notes = (BROKEN_CELLS,) if any(map(is_broken, asked)) else ()
    telling = {
        "behavior": len({row.subject for row in rows}) > 1,
        "strength": len({row.strength for row in asked}) > 1,
    }
    return Table(COLUMNS, lines, notes).keeping(lambda i, column: telling.get(column.title, True))


def _lines(row: SummaryRow) -> list[tuple[str, ...]]:
    head = (row.subject, cell_name(row), row.direction or NOTHING, f"{row.strength:g}")
    if is_broken(row):
        return [(*head, NOTHING, NOTHING, "broken", NOTHING)]
    found: list[tuple[str, ...]] = [
        (*head, label, count(own["n_items"]), number(own["shift"], signed=True), interval(own["ci"]))
        for label, own in (row.labels or {}).items()
    ]
    return found + [
        (*head, f"{own['second']} − {own['first']}", NOTHING, number(own["shift"], signed=True), interval(own["ci"]))
        for own in row.label_differences or ()
    ]
