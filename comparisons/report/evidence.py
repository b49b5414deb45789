"""What stands behind the shifts: corrected p-values, flips, stacks against their parts, slopes over strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.table import describe
from comparisons.results.findings import is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number, p_value, share

NAMES = (Column("behavior", align="left"), Column("cell", align="left"))


def evidence(rows: Sequence[SummaryRow]) -> list[Block]:
    """The sections; those without a number are left out."""
    return [*_tests(rows), *_interactions(rows), *_steerability(rows)]


def _tests(rows: Sequence[SummaryRow]) -> list[Block]:
    shown = [row for row in rows if row.flips and not is_broken(row)]
    if not shown:
        return []
    titles = ("p (Holm)", "p (max-T)", "flips to", "flips away", "p (flips)", "detectable")
    lines = [
        (
            *_names(row),
            *(p_value(row.p_holm), p_value(row.p_max_t)),
            *(str((row.flips or {})["gained"]), str((row.flips or {})["lost"]), p_value((row.flips or {})["p_value"])),
            number(row.detectable_shift),
        )
        for row in shown
    ]
    text = (
        "Flips are questions whose p_match rose above .5, or fell from above it; their p is McNemar's, for which "
        "questions count as independent. *Detectable* is the smallest true shift that this many questions of this "
        "spread would find in four of five cases, uncorrected: a smaller shift may be there unseen."
    )
    return section("Tests", Paragraph(text), _made(titles, lines))


def _interactions(rows: Sequence[SummaryRow]) -> list[Block]:
    shown = [(row, row.interaction) for row in rows if row.interaction]
    if not shown:
        return []
    lines = []
    for row, found in shown:
        numbers = (number(found["shift"], signed=True), interval(found.get("ci")), p_value(found["p_value"]))
        content = (number(found["content_shift"], signed=True), interval(found.get("content_ci")))
        lines.append((*_names(row), *numbers, *content, verdict(row.direction, found)))
    text = (
        "The stack's shift minus the sum of its parts' shifts, each part alone in the same settings. Probabilities "
        "saturate near 0 and 1, logits don't, so the last column goes by the content logits."
    )
    titles = ("beyond", "95% CI", "p", "in logits", "95% CI", "than the sum of its parts")
    return section("Stacks against their parts", Paragraph(text), _made(titles, lines))


def verdict(direction: str | None, found: Mapping[str, Any]) -> str:
    """Whether a stack moves more or less than its parts together, in the direction asked for."""
    bounds = found.get("content_ci")
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "no different"
    return "more" if (bounds[0] > 0) == (direction != "neg") else "less"


def _steerability(rows: Sequence[SummaryRow]) -> list[Block]:
    shown = [(row, row.steerability) for row in rows if row.steerability]
    if not shown:
        return []
    lines = []
    for row, found in shown:
        spread = " ".join(number(value, signed=True) for value in found.get("quantiles") or ()) or NOTHING
        numbers = (number(found["slope"], signed=True), interval(found.get("ci")), spread)
        doses = " ".join(f"{dose:g}" for dose in found.get("strengths") or ())
        lines.append(
            (row.subject, row.name, doses, *numbers, number(found.get("spearman")), share(found["anti_steerable"]))
        )
    text = (
        "The slope of each question's content logit over signed strength, the baseline at 0: its mean, its 5, 25, 50, "
        "75 and 95% quantiles, Spearman's correlation of the mean logit with strength, and the share below 0. "
        "Broken cells are left out."
    )
    titles = ("strengths", "slope", "95% CI", "quantiles", "Spearman", "anti-steerable")
    return section("Steerability", Paragraph(text), _made(titles, lines))


def _names(row: SummaryRow) -> tuple[str, str]:
    return row.subject, describe(row)


def _made(titles: Sequence[str], lines: Sequence[tuple[str, ...]]) -> Table:
    columns = (*NAMES, *(Column(title, interval=title == "95% CI") for title in titles))
    return Table(columns, tuple(Row(cells, cells[0]) for cells in lines))
