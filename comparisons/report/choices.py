"""Shifts by the items' label."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.report.blocks import Block, filled
from comparisons.report.figures import Gallery
from comparisons.report.sections import EvaluationSection
from comparisons.report.table import BROKEN_CELLS, placed_table
from comparisons.results.findings import is_broken
from comparisons.results.record import Record
from comparisons.results.schema import Effect
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Table, count, interval, number

TEXT = (
    "The same shift by what the data says of each question (its label). A behavior that really changes does so "
    "under every label. Where the shifts of two labels have opposite signs, or their difference is far from 0, "
    "the cell moves one kind of answer and not the behavior: what looks like honesty can be a bias to say yes, "
    "which gains on claims that are true and loses as much on those that are false. A difference is the second "
    "label's shift minus the first's; its interval is not corrected for the number of comparisons."
)

COLUMNS = (
    Column("label", align="left"),
    Column("questions", rank=2),
    Column("shift"),
    Column("95% CI", interval=True),
)


def label_section(record: Record, gallery: Gallery) -> list[Block]:
    """The table; nothing where no item has a label."""
    return filled("By label", label_table(record.summary.rows), TEXT)


def label_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and label and for the difference of each two labels; None where no item has a label.

    A cell that is broken, because more than half of the probability left the letters, shows no shift.
    """
    labelled = [row for row in rows if row.labels]
    if not labelled:
        return None
    lines = [(row, texts) for row in labelled for texts in _lines(row)]
    notes = (BROKEN_CELLS,) if any(map(is_broken, labelled)) else ()
    return placed_table(COLUMNS, lines, rows, 1, notes)


def _lines(row: SummaryRow) -> list[tuple[str, ...]]:
    if is_broken(row):
        return [(NOTHING, NOTHING, "broken", NOTHING)]
    named: list[tuple[str, str, Effect]] = [
        (label, count(one["n_items"]), one) for label, one in (row.labels or {}).items()
    ]
    named += [(f"{one['second']} − {one['first']}", NOTHING, one) for one in row.label_differences or ()]
    return [(label, items, number(one["shift"], signed=True), interval(one["ci"])) for label, items, one in named]


SECTION = EvaluationSection(label_section, 2, "Shift by the items' label:", label_table)
