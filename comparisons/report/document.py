"""What a report says: the answer first, then tables and figures, then how to read, repeat and use it."""

from __future__ import annotations

from comparisons.report.background import provenance_section, reading_section, repeat_section, use_section
from comparisons.report.blocks import Block, Bullets, Caution, Document, section
from comparisons.report.chosen import chosen_section
from comparisons.report.cost import cost_section
from comparisons.report.evidence import evidence, models_section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.sections import plugin_sections, sections
from comparisons.report.shift import shift_section
from comparisons.report.sweepsections import sweep_ledger, sweep_sections
from comparisons.report.table import describe, ledger_table
from comparisons.results.findings import FEW, answer, backfired, estimate, moved_controls
from comparisons.results.record import Record


def document(record: Record, gallery: Gallery) -> Document:
    """Puts a report together.

    Args:
        record: the run.
        gallery: where its figures are drawn.
    """
    models = record.summary.models
    model = str(record.part("model").get("name") or models[0]) if len(models) == 1 else f"{len(models)} models"
    aim = "Sweeping layers for" if record.is_sweep else "Changing"
    blocks = [
        *_warnings(record),
        *(sweep_sections(record, gallery) if record.is_sweep else _comparison(record, gallery)),
        *chosen_section(record, gallery),
        *(sweep_ledger(record) if record.is_sweep else _ledger(record)),
        *reading_section(record),
        *repeat_section(record),
        *use_section(record),
        *provenance_section(record),
    ]
    title = f"{aim} {escaped(subject(record))} in {escaped(model)}"
    return Document(title, tuple(blocks), record.summary.subjects)


def subject(record: Record) -> str:
    """What a report is about, in words: its behavior, or how many."""
    behaviors = record.summary.behaviors
    return behaviors[0] if len(behaviors) == 1 else f"{len(behaviors)} behaviors"


def _warnings(record: Record) -> list[Block]:
    """What must be known before any number is read."""
    lines = []
    if record.part("model").get("embedded"):
        lines.append(
            "The embedded model is a rehearsal: small enough to run anywhere, and no evidence about large models."
        )
    few = [row for row in record.summary.rows if row.n_items is not None and row.n_items < FEW]
    if few:
        least = min(row.n_items or 0 for row in few)
        names = ", ".join(dict.fromkeys(row.subject for row in few))
        kind = "dev" if record.on_dev else "test"
        lines.append(f"Only {least} {kind} questions for {names}: too few for the intervals to mean much.")
    lines += [str(note) for note in record.facts.get("notes") or []]
    return [Caution(tuple(map(escaped, lines)))] if lines else []


def _comparison(record: Record, gallery: Gallery) -> list[Block]:
    return [
        *_answers(record),
        *shift_section(record, gallery),
        *models_section(record.summary),
        *cost_section(record, gallery),
        *(block for of in sections() for block in of.blocks(record, gallery)),
        *plugin_sections(record),
        *evidence(record.summary.rows),
    ]


def _ledger(record: Record) -> list[Block]:
    rows = [row for name in record.summary.subjects for row in record.summary.of(name)]
    return section("Cost of each method", ledger_table(rows))


def _answers(record: Record) -> list[Block]:
    lines = []
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        lines += [text for direction in ("pos", "neg") if (text := answer(rows, direction))]
        if wrong := backfired(rows):
            listed = "; ".join(f"{describe(row)}, {estimate(row)}" for row in wrong)
            lines.append(f"Moved {name} measurably the wrong way: {listed}.")
        if controls := moved_controls(rows):
            listed = "; ".join(f"{describe(row)}, {estimate(row)}" for row in controls)
            lines.append(f"Controls, which are meant to do nothing, moved {name} measurably: {listed}.")
    if not any(row.knowledge_set for row in record.summary.rows):
        lines.append("No knowledge was measured, so nothing is said about cost.")
    return section("Answer", Bullets(tuple(map(escaped, lines))))
