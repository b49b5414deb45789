"""A sweep's tables: the best settings each way, and the best in both at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comparisons.report.sweep import TwoSided, best_rows, best_two_sided, series
from comparisons.results.findings import intended, is_broken
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number

TOP = 3
"""Settings shown for each behavior, stack and direction."""

NAMED = 3
"""Failed cells whose error is told; of more, the number is enough."""

BEST: tuple[tuple[Column, Callable[[SummaryRow], str]], ...] = (
    (Column("behavior", align="left"), lambda row: row.subject),
    (Column("method", align="left"), lambda row: row.series),
    (Column("direction", align="left"), lambda row: row.direction or NOTHING),
    (Column("layer"), lambda row: layer_text(row)),
    (Column("strength"), lambda row: f"{row.strength:g}"),
    (Column("shift"), lambda row: number(row.shift, signed=True)),
    (Column("95% CI", interval=True), lambda row: interval(row.shift_ci)),
    (Column("lost mass", rank=2), lambda row: number(row.lost_mass)),
    (Column("letter bias", rank=3), lambda row: number(row.letter_bias, signed=True)),
    (Column("cost", rank=1), lambda row: number(row.cost, signed=True)),
    (Column("95% CI", rank=4, interval=True), lambda row: interval(row.cost_ci)),
)

BOTH: tuple[tuple[Column, Callable[[TwoSided], str]], ...] = (
    (Column("behavior", align="left"), lambda pair: pair.pos.subject),
    (Column("method", align="left"), lambda pair: pair.pos.series),
    (Column("layer"), lambda pair: layer_text(pair.pos)),
    (Column("strength"), lambda pair: f"{pair.pos.strength:g}"),
    (Column("shift pos"), lambda pair: number(pair.pos.shift, signed=True)),
    (Column("95% CI", interval=True), lambda pair: interval(pair.pos.shift_ci)),
    (Column("shift neg"), lambda pair: number(pair.neg.shift, signed=True)),
    (Column("95% CI", interval=True), lambda pair: interval(pair.neg.shift_ci)),
    (Column("two-sided"), lambda pair: number(pair.shift, signed=True)),
)


def layer_text(row: SummaryRow) -> str:
    """The layer swept, or that of a cell for reference, if it has one."""
    layer = row.layer if row.swept_layer is None else row.swept_layer
    return NOTHING if layer is None else str(layer)


def best_table(summary: Summary, top: int = TOP) -> Table:
    """The best settings of each behavior, stack and direction.

    Args:
        summary: of a sweep.
        top: how many of each.
    """
    rows = []
    for behavior in summary.subjects:
        mine = summary.of(behavior)
        for name in series(mine):
            of_series = [row for row in mine if row.series == name]
            for direction in ("pos", "neg"):
                rows += (best_rows(of_series, direction) or best_rows(of_series, direction, broken=True))[:top]
    cells = tuple(Row(tuple(cell(row) for _, cell in BEST), row.subject) for row in rows)
    return Table(tuple(column for column, _ in BEST), cells, tuple(_notes(summary, rows))).without_empty()


def two_sided_table(pairs: Sequence[TwoSided]) -> Table:
    """The best setting in both directions of each behavior and stack."""
    cells = tuple(Row(tuple(cell(pair) for _, cell in BOTH), pair.pos.subject) for pair in pairs)
    return Table(tuple(column for column, _ in BOTH), cells).without_empty()


def two_sided(summary: Summary) -> list[TwoSided]:
    """The best setting in both directions of each behavior and stack that has one."""
    found = []
    for behavior in summary.subjects:
        mine = summary.of(behavior)
        found += [best_two_sided([row for row in mine if row.series == name]) for name in series(mine)]
    return [pair for pair in found if pair is not None]


def _notes(summary: Summary, rows: Sequence[SummaryRow]) -> list[str]:
    cells = [row for row in summary.rows if not row.is_baseline]
    notes = []
    if any(intended(row) <= 0 for row in rows):
        notes.append("A shift against its direction is the best of that direction all the same: nothing did better.")
    if any(is_broken(row) for row in rows):
        notes.append(
            "Where the lost mass is above a half, no setting did better: the model answers something other than the "
            "two letters, and its shift says little."
        )
    failed = [row for row in summary.rows if row.failed]
    notes += [f"{row.cell} failed: {row.error or 'no reason was kept'}" for row in failed[:NAMED]]
    if len(failed) > NAMED:
        notes.append(f"{len(failed)} of {len(cells)} cells failed; summary.json has every error.")
    return notes
