"""The report's first screen: what to do, three numbers, a figure, the sentences behind it, and how answers change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comparisons.report.bars import reach_panels
from comparisons.report.blocks import Block, Bullets, Decision, Heading, Number, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.table import describe
from comparisons.results.findings import (
    answers,
    backfired,
    claimed,
    dosed,
    moved_controls,
    single_fits,
    void,
    which_fit,
)
from comparisons.results.gates import Gate, gates, verdicts
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.directions import DIRECTIONS
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number

NOT_ASKED = "not asked"

SAMPLE_TEXT = (
    "The free answers to the first prompt of each behavior, by the unchanged model and the methods above. One answer "
    "is no measure."
)


def answer_section(record: Record, gallery: Gallery) -> list[Block]:
    """What to do about each behavior, and why."""
    pictures = gallery.draw("shift", reach_panels(record.summary), "Shift by method, on what could be reached")
    reasons = Bullets(tuple(map(escaped, _reasons(record))))
    return section("Answer", *_decisions(record), *pictures, reasons, *_sample(record))


def _decisions(record: Record) -> Iterator[Decision]:
    summary = record.summary
    limits = gates(summary)
    for name in summary.subjects:
        short = short_limits(limits, name)
        for verdict in verdicts(summary.of(name), summary.contrasts):
            row = verdict.row
            numbers, cell = (_numbers(row), row.cell) if row is not None else ((), "")
            yield Decision(name, verdict.aim, verdict.text, numbers, cell, short)
            short = ""  # said once


def short_limits(limits: Sequence[Gate], subject: str) -> str:
    """What limits the answer about a behavior, in a few words."""
    return "; ".join(dict.fromkeys(gate.short for gate in limits if gate.subject == subject and gate.short))


def _numbers(row: SummaryRow) -> tuple[Number, ...]:
    """Shift, knowledge cost and divergence from the unchanged model."""
    value, _, bounds = claimed(row).partition(" ")
    shift = Number(value, "shift", bounds.strip("()"), "choices")
    return shift, _cost(row), Number(number(row.kl), "KL", NOT_ASKED if row.kl is None else "nats a token")


def _cost(row: SummaryRow) -> Number:
    """The knowledge cost; one below 0 as the gain that it is, so that no sign must be thought about."""
    if row.cost is None:
        return Number(NOTHING, "knowledge cost", NOT_ASKED)
    gain = round(row.cost, 3) < 0
    low, high = row.cost_ci or (0.0, 0.0)
    bounds = row.cost_ci and ([-high, -low] if gain else row.cost_ci)
    name = "knowledge gained" if gain else "knowledge cost"
    return Number(number(-row.cost if gain else row.cost), name, _interval(bounds, 3), "knowledge")


def _interval(value: Sequence[float] | None, places: int) -> str:
    return "no interval" if value is None else interval(value, places)


def _reasons(record: Record) -> Iterator[str]:
    """The sentences behind the verdicts, and what else moved."""
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        yield from answers(rows, record.summary.contrasts)
        if void(rows):
            continue
        if wrong := backfired(rows):
            yield f"Moved {name} measurably the wrong way: {_listed(wrong)}."
        if controls := moved_controls(rows):
            yield f"Controls, which are meant to do nothing, moved {name} measurably: {_listed(controls)}."
    if alone := single_fits(record.summary.rows):
        yield alone
    if not any(row.knowledge_set for row in record.summary.rows):
        yield "No knowledge was measured, so nothing is said about cost."


def _listed(rows: Sequence[SummaryRow]) -> str:
    return "; ".join(f"{describe(row)}{which_fit(row)}, {claimed(row)}" for row in rows)


def _sample(record: Record) -> list[Block]:
    """Answers before and after, a line a behavior; nothing where no free answers were asked for."""
    said = {(answer["cell"], answer["prompt"]): str(answer["answer"]) or "(nothing)" for answer in record.answers}
    lines = []
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        prompt = next((prompt for cell, prompt in said if cell == rows[0].cell), None)
        best = {each.row.direction: each.row for each in verdicts(rows, record.summary.contrasts) if each.row}
        if prompt is not None and best:
            cells = [best.get(direction) for direction in DIRECTIONS]
            texts = (
                f"{dosed(row, rows)}: {said.get((row.cell, prompt), NOTHING)}" if row else NOTHING for row in cells
            )
            lines.append(Row((f"“{prompt}”", said[rows[0].cell, prompt], *texts), name))
    columns = tuple(Column(title, align="left", prose=True) for title in ("prompt", "unchanged", "raised", "lowered"))
    table = Table(columns, tuple(lines)).without_empty()
    return [Heading("What it looks like", 3), Paragraph(SAMPLE_TEXT), table] if lines else []
