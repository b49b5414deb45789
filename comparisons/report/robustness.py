"""Robustness: each cell's shift under other wordings and another prompt format, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.evaluation.conditions import FORMAT, NEUTRAL, PARAPHRASES, PLAIN, PREFIX
from comparisons.report.blocks import Block, Bullets, Paragraph
from comparisons.report.markdown import escaped
from comparisons.report.table import BROKEN_CELLS, cell_name
from comparisons.results.findings import is_broken
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number, share

COLUMNS = (
    Column("behavior", align="left"),
    Column("method", align="left"),
    Column("direction", align="left"),
    Column("strength", rank=2),
    Column("condition", align="left"),
    Column("baseline", rank=3),
    Column("shift"),
    Column("95% CI", rank=1, interval=True),
    Column("survives"),
    Column("95% CI", interval=True),
)


def robustness_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and condition, the plain shift first; None where nothing was repeated.

    A cell or condition that is broken, because more than half of the probability left the letters, shows no shift.
    """
    asked = [row for row in rows if row.robustness]
    if not asked:
        return None
    plain = {row.subject: row.p_match for row in rows if row.is_baseline}
    lines = [Row(cells, row.subject) for row in asked for cells in _lines(row, plain.get(row.subject))]
    notes = (BROKEN_CELLS,) if any("broken" in line.cells for line in lines) else ()
    telling = {
        "behavior": len({row.subject for row in rows}) > 1,
        "strength": len({row.strength for row in asked}) > 1,
    }
    return Table(COLUMNS, tuple(lines), notes).keeping(lambda i, column: telling.get(column.title, True))


def _lines(row: SummaryRow, baseline: float | None) -> list[tuple[str, ...]]:
    head = (row.subject, cell_name(row), row.direction or NOTHING, f"{row.strength:g}")
    plain = ("broken", NOTHING) if is_broken(row) else (number(row.shift, signed=True), interval(row.shift_ci))
    lines: list[tuple[str, ...]] = [(*head, PLAIN.name, number(baseline), *plain, NOTHING, NOTHING)]
    for name, found in (row.robustness or {}).items():
        lines.append((*head, name, number(found["baseline"]), *_numbers(row, found)))
    return lines


def _numbers(row: SummaryRow, found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if found["broken"] or is_broken(row):
        return "broken", NOTHING, NOTHING, NOTHING
    bounds = found["survives_ci"]
    text = NOTHING if bounds is None else f"[{share(bounds[0])}, {share(bounds[1])}]"
    return number(found["shift"], signed=True), interval(found["ci"]), share(found["survives"]), text


def explanation(record: Record) -> list[Block]:
    """What the conditions of a run are."""
    texts = record.part("robustness")
    used = {name for row in record.summary.rows for name in row.robustness or {}}
    neutral = dict.fromkeys(tuple(found) for found in (texts.get("neutral") or {}).values())
    prompts = "; ".join(f"“{'” and “'.join(map(escaped, found))}”" for found in neutral)
    text = (
        "The same cells on the same test questions, asked in other ways; what was fitted is kept as it is. Under each "
        "condition the cell is compared with the baseline under the same condition, paired by question. *Survives* is "
        "that shift as a share of the plain one, with a paired 95% bootstrap interval; it is not given where the plain "
        "shift's interval holds 0, since nothing is there to survive. *Baseline* is the baseline's p_match under the "
        "condition: where that moves, a shift that ends at 0 or 1 has more or less room than before."
    )
    lines = []
    if used & set(PARAPHRASES):
        lines.append(
            f"**{', '.join(PARAPHRASES)}**: for cells that have it, the behavior's system prompt in other words; "
            "the baseline has none and stays as it is."
        )
    if used & set(NEUTRAL):
        shown = f" ({prompts})" if prompts else ""
        lines.append(
            f"**{', '.join(NEUTRAL)}**: for the others, a system prompt about nothing in front of baseline and "
            f"cell{shown}."
        )
    if PREFIX in used:
        shown = f"“{escaped(str(texts['prefix']))}”" if texts.get("prefix") else "a sentence"
        lines.append(f"**{PREFIX}**: {shown} before each question, in the user's turn.")
    if FORMAT in used:
        shown = f": `{texts['format']}`" if texts.get("format") else ""
        lines.append(f"**{FORMAT}**: the prompt written in another format{shown}.")
    return [Paragraph(text), Bullets(tuple(lines))]
