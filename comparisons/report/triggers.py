"""Triggers in the report: on how many prompts edits with a condition act."""

from __future__ import annotations

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.sections import EvaluationSection
from comparisons.report.table import placed_table
from comparisons.results.record import Record
from comparisons.util.table import Column, count, interval, share

NAME = "triggers"

TEXT = (
    "On how many prompts the edits of a cell act, where a condition decides that at the end of the prompt: of the "
    "behavior's questions, and of neutral ones, where they are not meant to (false triggers). Neutral prompts are "
    "the knowledge questions that are asked; the condition was fitted on others. Intervals are Wilson's."
)
COLUMNS = (
    Column("own"),
    Column("95% CI", rank=2, interval=True),
    Column("questions", rank=3),
    Column("neutral"),
    Column("95% CI", rank=1, interval=True),
    Column("questions", rank=3),
)


def triggers_section(record: Record, gallery: Gallery) -> list[Block]:
    """On how many prompts each cell's edits act; nothing where none has a condition."""
    lines = [
        (
            row,
            (
                share(one["own"]),
                interval(one["own_ci"]),
                count(one["n_own"]),
                share(one["neutral"]),
                interval(one["neutral_ci"]),
                count(one["n_neutral"]),
            ),
        )
        for row in record.summary.rows
        if (one := row.measured.get(NAME))
    ]
    table = placed_table(COLUMNS, lines, record.summary.rows, 3)
    return section("Where edits with a condition act", Paragraph(TEXT), table) if lines else []


SECTION = EvaluationSection(triggers_section, 7)
