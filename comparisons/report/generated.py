"""Generated choices: what the models write when they answer for themselves, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.report.table import cell_name
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number, share

MANY_UNPARSED = 0.1
"""A share of unparsed answers from which the others may be a selection."""

GENERATED_TEXT = (
    "Each cell also writes an answer of up to 30 tokens to every question, greedily and without a letter to begin "
    "with, and the choice is looked for in it: its letter, its text, or yes, no, true or false where one choice "
    "begins with it. An answer that can be read in two ways is not read. *Accuracy* is the share of the answers "
    "read that are the matching choice; *unparsed* is the share that can't be read; *agreement* is the share of "
    "those read that are the choice to which the log-probabilities give more; the shift is against the baseline's "
    "written answers, paired by question."
)
_SELECTED = (
    "More than a tenth of some cell's answers can't be read: its accuracy, agreement and shift are of the rest "
    "only, which need not be like them."
)

COLUMNS = (
    Column("behavior", align="left"),
    Column("method", align="left"),
    Column("direction", align="left"),
    Column("strength", rank=3),
    Column("answers", rank=4),
    Column("unparsed"),
    Column("accuracy"),
    Column("95% CI", rank=2, interval=True),
    Column("agreement"),
    Column("shift"),
    Column("95% CI", rank=1, interval=True),
)


def generated_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and baseline that wrote answers; None where none did."""
    asked = [(row, row.generated) for row in rows if row.generated]
    if not asked:
        return None
    lines = tuple(Row(_line(row, found), row.subject) for row, found in asked)
    notes = (_SELECTED,) if any(found["unparsed"] > MANY_UNPARSED for _, found in asked) else ()
    telling = {
        "behavior": len({row.subject for row in rows}) > 1,
        "strength": len({row.strength for row, _ in asked if not row.is_baseline}) > 1,
    }
    return Table(COLUMNS, lines, notes).keeping(lambda i, column: telling.get(column.title, True))


def _line(row: SummaryRow, found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row.subject,
        cell_name(row),
        row.direction or NOTHING,
        NOTHING if row.is_baseline else f"{row.strength:g}",
        count(found["n_answers"]),
        share(found["unparsed"]),
        number(found["accuracy"]),
        interval(found["accuracy_ci"]),
        share(found["agreement"]),
        number(found["shift"], signed=True),
        interval(found["shift_ci"]),
    )
