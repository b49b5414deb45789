"""Robustness: each cell's shift under other wordings and another prompt format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.report.blocks import Block, Bullets, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.sections import EvaluationSection
from comparisons.report.table import BROKEN_CELLS, placed_table
from comparisons.results.findings import is_broken
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Table, interval, number, share

TEXT = (
    "The same cells on the same test questions, asked in other ways; what was fitted is kept as it is. Under each "
    "condition the cell is compared with the baseline under the same condition, paired by question. *Survives* is "
    "that shift as a share of the plain one, with a paired 95% bootstrap interval; it is not given where the plain "
    "shift's interval holds 0, since nothing is there to survive. *Baseline* is the baseline's p_match under the "
    "condition: where that moves, a shift that ends at 0 or 1 has more or less room than before."
)

COLUMNS = (
    Column("condition", align="left"),
    Column("baseline", rank=3),
    Column("shift"),
    Column("95% CI", rank=1, interval=True),
    Column("survives"),
    Column("95% CI", interval=True),
)


def robustness_section(record: Record, gallery: Gallery) -> list[Block]:
    """What the conditions are, and the table; nothing where nothing was repeated."""
    table = robustness_table(record.summary.rows)
    return [] if table is None else section("Robustness", Paragraph(TEXT), _conditions(record), table)


def robustness_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and condition, the plain shift first; None where nothing was repeated.

    A cell or condition that is broken, because more than half of the probability left the letters, shows no shift.
    """
    repeated = [row for row in rows if row.robustness]
    if not repeated:
        return None
    plain = {row.subject: row.p_match for row in rows if row.is_baseline}
    lines = [(row, texts) for row in repeated for texts in _lines(row, plain.get(row.subject))]
    notes = (BROKEN_CELLS,) if any("broken" in texts for _, texts in lines) else ()
    return placed_table(COLUMNS, lines, rows, 2, notes)


def _lines(row: SummaryRow, baseline: float | None) -> list[tuple[str, ...]]:
    plain = ("broken", NOTHING) if is_broken(row) else (number(row.shift, signed=True), interval(row.shift_ci))
    return [
        ("plain", number(baseline), *plain, NOTHING, NOTHING),
        *((name, number(one["baseline"]), *_shift(row, one)) for name, one in (row.robustness or {}).items()),
    ]


def _shift(row: SummaryRow, condition: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if condition["broken"] or is_broken(row):
        return "broken", NOTHING, NOTHING, NOTHING
    bounds = condition["survives_ci"]
    text = NOTHING if bounds is None else f"[{share(bounds[0])}, {share(bounds[1])}]"
    return number(condition["shift"], signed=True), interval(condition["ci"]), share(condition["survives"]), text


def _conditions(record: Record) -> Bullets:
    """What the conditions of a run are; those of a kind are told apart by a number."""
    kinds: dict[str, dict[str, None]] = {}
    for name in (name for row in record.summary.rows for name in row.robustness or {}):
        kinds.setdefault(name.partition("-")[0], {})[name] = None
    texts = record.part("evaluations").get("robustness") or {}
    neutral = dict.fromkeys(tuple(prompts) for prompts in (texts.get("neutral") or {}).values())
    quoted = "; ".join(f"“{'” and “'.join(map(escaped, prompts))}”" for prompts in neutral)
    prefix = f"“{escaped(str(texts['prefix']))}”" if texts.get("prefix") else "a sentence"
    other = f": `{texts['format']}`" if texts.get("format") else ""
    meant = {
        "paraphrase": "for cells that have it, the behavior's system prompt in other words; the baseline has none and "
        "stays as it is.",
        "neutral": "for the others, a system prompt about nothing in front of baseline and "
        f"cell{f' ({quoted})' if quoted else ''}.",
        "prefix": f"{prefix} before each question, in the user's turn.",
        "format": f"the prompt written in another format{other}.",
    }
    return Bullets(tuple(f"**{', '.join(kinds[kind])}**: {text}" for kind, text in meant.items() if kind in kinds))


SECTION = EvaluationSection(robustness_section, 5, "How much of the shift survives:", robustness_table)
