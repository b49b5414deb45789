"""Perplexity in the report: nats a token of a text under each cell."""

from __future__ import annotations

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.sections import EvaluationSection
from comparisons.report.table import placed_table
from comparisons.results.record import Record
from comparisons.util.table import NOTHING, Column, count, interval, number

NAME = "perplexity"

TEXT = (
    "How likely a plain text is: the mean negative log-likelihood of its tokens, in nats, each paragraph read by "
    "itself. The difference is against the unchanged model on the same paragraphs, with a bootstrap interval paired by "
    "paragraph: above 0, the cell makes this text less likely; the ratio of perplexities is e to the difference. "
    "Vectors act on every token of the text."
)
COLUMNS = (
    Column("nats a token"),
    Column("95% CI", rank=2, interval=True),
    Column("difference"),
    Column("95% CI", rank=1, interval=True),
    Column("perplexity ratio"),
    Column("tokens", rank=3),
)


def perplexity_section(record: Record, gallery: Gallery) -> list[Block]:
    """What each cell makes of the text; nothing where none was read."""
    lines = [
        (
            row,
            (
                number(one["nats"]),
                interval(one["nats_ci"]),
                number(one["difference"], signed=True),
                interval(one["difference_ci"]),
                _ratio(one.get("ratio")),
                count(one["n_tokens"]),
            ),
        )
        for row in record.summary.rows
        if (one := row.measured.get(NAME))
    ]
    table = placed_table(COLUMNS, lines, record.summary.rows, 3)
    return section("Perplexity of a text", Paragraph(TEXT), table) if lines else []


def _ratio(value: float | None) -> str:
    """To four digits: of a broken cell it can be any size."""
    return NOTHING if value is None else f"{value:.4g}"


SECTION = EvaluationSection(perplexity_section, 6)
