"""What stands behind the shifts: other models, corrected p-values, flips, stacks against their parts, slopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comparisons.report.blocks import Block, Heading, Paragraph, section
from comparisons.report.markdown import escaped
from comparisons.report.table import describe
from comparisons.results.findings import estimate, is_broken
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number, p_value, share

MODELS_TEXT = (
    "The shift of each cell with its 95% interval, and in the first line the baseline's p_match, model beside model. "
    "The models answer the same questions; a stack's settings are chosen, and its parts fitted, on each by itself."
)
TESTS_TEXT = (
    "Flips are questions whose p_match rose above .5, or fell from above it; their p is McNemar's, for which "
    "questions count as independent. *Detectable* is the smallest true shift that this many questions of this "
    "spread would find in four of five cases, uncorrected: a smaller shift may be there unseen."
)
INTERACTIONS_TEXT = (
    "The stack's shift minus the sum of its parts' shifts, each part alone in the same settings. Probabilities "
    "saturate near 0 and 1, logits don't, so the last column goes by the content logits."
)
STEERABILITY_TEXT = (
    "The slope of each question's content logit over signed strength, the baseline at 0: its mean, its 5, 25, 50, "
    "75 and 95% quantiles, Spearman's correlation of the mean logit with strength, and the share below 0. "
    "Broken cells are left out."
)

SEEDS_TEXT = (
    "Each fit's shift, by its seed; the standard deviation of a single fit's true shift; and the two parts of the "
    "standard error of their mean, which add as squares: that of the choice of questions, and what the choice of seeds "
    "adds. Every fit was asked the choices, the knowledge questions and side effects; all else is about the first."
)

Numbered = tuple[SummaryRow, Mapping[str, Any]]
"""A row, and the numbers of it that a table is about."""

Fields = tuple[tuple[Column, Callable[[Numbered], str]], ...]

TESTS: Fields = (
    (Column("p (Holm)"), lambda x: p_value(x[0].p_holm)),
    (Column("p (max-T)"), lambda x: p_value(x[0].p_max_t)),
    (Column("flips to"), lambda x: str(x[1]["gained"])),
    (Column("flips away"), lambda x: str(x[1]["lost"])),
    (Column("p (flips)"), lambda x: p_value(x[1]["p_value"])),
    (Column("detectable"), lambda x: number(x[0].detectable_shift)),
)

SEEDS: Fields = (
    (Column("fits"), lambda x: count(len(x[1]["seeds"]))),
    (Column("their shifts"), lambda x: " ".join(number(shift, signed=True) for shift in x[1]["shifts"])),
    (Column("SD of a fit"), lambda x: number(x[1]["deviation"], places=4)),
    (Column("SE, questions"), lambda x: number(x[1]["question_error"], places=4)),
    (Column("SE, seeds"), lambda x: number(x[1]["seed_error"], places=4)),
)

INTERACTIONS: Fields = (
    (Column("beyond"), lambda x: number(x[1]["shift"], signed=True)),
    (Column("95% CI", interval=True), lambda x: interval(x[1].get("ci"))),
    (Column("p"), lambda x: p_value(x[1]["p_value"])),
    (Column("in logits"), lambda x: number(x[1]["content_shift"], signed=True)),
    (Column("95% CI", interval=True), lambda x: interval(x[1].get("content_ci"))),
    (Column("than the sum of its parts"), lambda x: verdict(x[0].direction, x[1])),
)

STEERABILITY: Fields = (
    (Column("strengths"), lambda x: " ".join(f"{dose:g}" for dose in x[1].get("strengths") or ())),
    (Column("slope"), lambda x: number(x[1]["slope"], signed=True)),
    (Column("95% CI", interval=True), lambda x: interval(x[1].get("ci"))),
    (Column("quantiles"), lambda x: " ".join(number(q, signed=True) for q in x[1].get("quantiles") or ()) or NOTHING),
    (Column("Spearman"), lambda x: number(x[1].get("spearman"))),
    (Column("anti-steerable"), lambda x: share(x[1]["anti_steerable"])),
)


def evidence(rows: Sequence[SummaryRow]) -> list[Block]:
    """The sections; those without a number are left out."""
    return [
        *_section("Tests", TESTS_TEXT, TESTS, [(r, r.flips) for r in rows if r.flips and not is_broken(r)]),
        *_section("Seeds", SEEDS_TEXT, SEEDS, [(r, r.fits) for r in rows if r.fits and len(r.fits["seeds"]) > 1]),
        *_section(
            "Stacks against their parts",
            INTERACTIONS_TEXT,
            INTERACTIONS,
            [(row, row.interaction) for row in rows if row.interaction],
        ),
        *_section(
            "Steerability",
            STEERABILITY_TEXT,
            STEERABILITY,
            [(row, row.steerability) for row in rows if row.steerability],
            lambda row: row.name,
        ),
    ]


def _section(
    title: str,
    text: str,
    fields: Fields,
    rows: Sequence[Numbered],
    name: Callable[[SummaryRow], str] = describe,
) -> list[Block]:
    if not rows:
        return []
    names: Fields = (
        (Column("behavior", align="left"), lambda x: x[0].subject),
        (Column("cell", align="left"), lambda x: name(x[0])),
    )
    return section(title, Paragraph(text), Table.of((*names, *fields), rows, lambda x: x[0].subject))


def verdict(direction: str | None, interaction: Mapping[str, Any]) -> str:
    """Whether a stack moves more or less than its parts together, in the direction asked for."""
    bounds = interaction.get("content_ci")
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "no different"
    return "more" if (bounds[0] > 0) == (direction != "neg") else "less"


def models_section(summary: Summary) -> list[Block]:
    """The same cells on each model; nothing where the run has one."""
    if len(summary.models) < 2:
        return []
    blocks = section("Models side by side", Paragraph(MODELS_TEXT))
    for name in summary.behaviors:
        blocks += [Heading(escaped(name), 3)] if len(summary.behaviors) > 1 else []
        blocks.append(_models_table(summary, name))
    return blocks


def _models_table(summary: Summary, behavior: str) -> Table:
    """A line a cell, a column a model."""
    rows = [row for row in summary.rows if row.behavior == behavior]
    by_model = {(row.model, _cell(row)): row for row in rows}
    several = len({row.strength for row in rows if not row.is_baseline}) > 1
    titles = ["method", "direction", *(["strength"] if several else [])]
    columns = (*(Column(title, align="left") for title in titles), *(Column(name) for name in summary.models))
    lines = []
    for cell in dict.fromkeys(_cell(row) for row in sorted(rows, key=lambda row: not row.is_baseline)):
        name, direction, strength = cell
        head = (name, direction or NOTHING, *([NOTHING if direction is None else f"{strength:g}"] if several else []))
        values = (_shift(by_model.get((model, cell))) for model in summary.models)
        lines.append(Row((*head, *values), behavior))
    return Table(columns, tuple(lines))


def _cell(row: SummaryRow) -> tuple[str, str | None, float]:
    return row.name, row.direction, row.strength


def _shift(row: SummaryRow | None) -> str:
    if row is None:
        return NOTHING
    if row.failed:
        return "failed"
    if row.is_baseline:
        return number(row.p_match)
    return "broken" if is_broken(row) else estimate(row)
