"""KL in the report: how far each cell's next tokens are from the unchanged model's, where no behavior is at stake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.sections import EvaluationSection
from comparisons.report.shift import CostPanel, Place, cost_panels, places_blocks
from comparisons.report.table import describe, placed_table
from comparisons.results.findings import estimate, is_broken
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Column, Table, count, interval, number, share

TEXT = (
    "How differently the changed model writes where the behavior is not at stake: KL(unchanged ‖ changed) of the next "
    "token, in nats, exact over the vocabulary, along the unchanged model's own greedy answers to neutral prompts. The "
    "mean is over tokens, its interval a bootstrap over prompts; the first token decides how an answer begins. "
    "0 is the unchanged model. It says how much is different, not whether that is worse. Off target is "
    "the share of a cell's own answers to these prompts in which the judge rules sees the behavior (kl.off_target)."
)

COLUMNS = (
    Column("KL"),
    Column("95% CI", rank=1, interval=True),
    Column("95th percentile", rank=3),
    Column("first token", rank=2),
    Column("off target", rank=2),
    Column("prompts", rank=4),
)


@dataclass(frozen=True)
class KlPanel(CostPanel):
    """Shift against KL, as `CostPanel`."""

    x_label: ClassVar[str] = "KL to the unchanged model, nats a token, 95% interval"
    word: ClassVar[str] = "KL"

    def place(self, row: SummaryRow) -> Place | None:
        """Where a cell stands; None where it has no number, or none that means something."""
        if row.kl is None or row.shift is None or is_broken(row):
            return None
        text = f"{describe(row)}: shift {estimate(row)}, KL {number(row.kl)}"
        return Place(row, row.kl, row.measured.get("kl", {}).get("kl_ci"), row.shift, row.shift_ci, text)


def kl_section(record: Record, gallery: Gallery) -> list[Block]:
    """Shift against KL, and the table; nothing where it wasn't asked for."""
    table = kl_table(record.summary.rows)
    if table is None:
        return []
    pictures = gallery.draw("kl", cost_panels(record.summary, KlPanel), "Shift against KL")
    places = places_blocks(record.summary.rows, lambda row: row.kl_frontier)
    return section("What else changes", Paragraph(TEXT), *pictures, table, *places)


def kl_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell; None where it wasn't asked for."""
    lines = [
        (
            row,
            (
                number(row.kl),
                interval(beside.get("kl_ci")),
                number(row.kl_p95),
                number(beside.get("kl_first")),
                share(beside.get("off_target")),
                count(beside.get("n_prompts")),
            ),
        )
        for row in rows
        if row.kl is not None and not row.is_baseline and (beside := row.measured.get("kl", {})) is not None
    ]
    return placed_table(COLUMNS, lines, rows, 4).without_empty() if lines else None


SECTION = EvaluationSection(kl_section, 5, "KL to the unchanged model, in nats a token:", kl_table)
