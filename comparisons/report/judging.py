"""Judges in the report: what became of the answers each was given, how far it can be trusted, whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.report.blocks import Block, Heading, Paragraph
from comparisons.results.record import Record
from comparisons.results.status import UNSCORED
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number

Judged = Mapping[str, Any]

KNOWN_TEXT = (
    "On answers whose score is known, which are not the run's: the share whose score lies on the right side of 5, with "
    "Wilson's interval, the mean distance from the known score, and whether they are put in the same order."
)
AGREEMENT_TEXT = (
    "On the run's own answers: Krippendorff's alpha (1 for the same scores, 0 for what chance brings), and for two "
    "judges whether they order the answers alike."
)


def judge_table(rows: Sequence[SummaryRow]) -> Table:
    """A line a judge: what became of the answers it was given, and what it cost."""
    columns = (
        Column("judge", align="left"),
        *(Column(title) for title in ("answers", "scored", "unparsed", "refused", "failed", "not asked")),
        *(Column(title) for title in ("tokens in", "tokens out", "dollars")),
    )
    lines = []
    for judge, found in by_judge(rows).items():
        sums = {key: sum(one.get(key) or 0 for _, one in found) for key in ("n_scored", *UNSCORED)}
        tokens = [sum(one.get(key) or 0 for _, one in found) for key in ("tokens_in", "tokens_out")]
        dollars = [one["dollars"] for _, one in found if one.get("dollars") is not None]
        paid = [*map(count, tokens), f"{sum(dollars):.4f}" if dollars else NOTHING]
        lines.append(
            Row(
                (
                    judge,
                    count(sum(sums.values())),
                    *map(count, sums.values()),
                    *(paid if any(tokens) else [NOTHING] * 3),
                ),
                "",
            )
        )
    return Table(columns, tuple(lines)).without_empty()


def trust(record: Record) -> list[Block]:
    """How far the judges can be trusted."""
    known, agreed = record.summary.judges.get("known") or {}, record.summary.judges.get("agreement") or []
    found: list[Block] = []
    if known:
        columns = (
            Column("judge", align="left"),
            *(Column(title) for title in ("known answers", "scored", "right side")),
            Column("95% CI", interval=True),
            *(Column(title) for title in ("mean error", "Spearman")),
        )
        lines = tuple(
            Row(
                (
                    judge,
                    *(count(one["n"]), count(one["n_scored"]), number(one.get("share_right"))),
                    *(interval(one.get("share_right_ci")), short(one.get("mean_absolute_error"))),
                    number(one.get("spearman")),
                ),
                "",
            )
            for judge, one in known.items()
        )
        found += [Heading("Judges on known answers", 3), Paragraph(KNOWN_TEXT), Table(columns, lines)]
    if agreed:
        columns = (
            Column("judges", align="left"),
            *(Column(title) for title in ("answers", "alpha", "Spearman", "Kendall")),
        )
        lines = tuple(
            Row(
                (
                    ", ".join(one["judges"]),
                    count(one["n"]),
                    *(number(one.get(key)) for key in ("alpha", "spearman", "kendall")),
                ),
                "",
            )
            for one in agreed
        )
        found += [Heading("Agreement of judges", 3), Paragraph(AGREEMENT_TEXT), Table(columns, lines).without_empty()]
    return found


def judged(rows: Sequence[SummaryRow]) -> list[tuple[SummaryRow, Mapping[str, Judged]]]:
    return [(row, row.open_ended["judges"]) for row in rows if row.open_ended]


def by_judge(rows: Sequence[SummaryRow]) -> dict[str, list[tuple[SummaryRow, Judged]]]:
    found: dict[str, list[tuple[SummaryRow, Judged]]] = {}
    for row, judges in judged(rows):
        for judge, one in judges.items():
            found.setdefault(judge, []).append((row, one))
    return found


def short(value: float | None, signed: bool = False) -> str:
    """A score with two places."""
    return NOTHING if value is None else f"{round(value, 2) + 0.0:{'+' if signed else ''}.2f}"
