"""Generated choices: what the models write when they answer for themselves."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.report.blocks import Block, filled
from comparisons.report.figures import Gallery
from comparisons.report.sections import EvaluationSection
from comparisons.report.table import placed_table
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Column, Table, count, interval, number, share

MANY_UNPARSED = 0.1
"""A share of unparsed answers from which the others may be a selection."""

TEXT = (
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
    Column("answers", rank=4),
    Column("unparsed"),
    Column("accuracy"),
    Column("95% CI", rank=2, interval=True),
    Column("agreement"),
    Column("shift"),
    Column("95% CI", rank=1, interval=True),
)


def generated_section(record: Record, gallery: Gallery) -> list[Block]:
    """The table; nothing where no answer was written."""
    return filled("Generated choices", generated_table(record.summary.rows), TEXT)


def generated_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and baseline that wrote answers; None where none did."""
    written = [(row, row.generated) for row in rows if row.generated]
    if not written:
        return None
    lines = [
        (
            row,
            (
                count(answers["n_answers"]),
                share(answers["unparsed"]),
                number(answers["accuracy"]),
                interval(answers["accuracy_ci"]),
                share(answers["agreement"]),
                number(answers["shift"], signed=True),
                interval(answers["shift_ci"]),
            ),
        )
        for row, answers in written
    ]
    notes = (_SELECTED,) if any(answers["unparsed"] > MANY_UNPARSED for _, answers in written) else ()
    return placed_table(COLUMNS, lines, rows, 3, notes)


SECTION = EvaluationSection(generated_section, 3, "What the models write:", generated_table)
