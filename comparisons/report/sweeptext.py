"""The parts of a report that only a sweep has: best settings, how to confirm them, maps and curves."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from comparisons.report.blocks import Block, Bullets, Code, Heading, Paragraph, section
from comparisons.report.figures import Figures
from comparisons.report.markdown import escaped
from comparisons.report.sweep import TwoSided, best_rows, series
from comparisons.report.sweeptable import best_table, layer_text, two_sided, two_sided_table
from comparisons.results.findings import estimate, moved
from comparisons.results.record import Record, shown
from comparisons.results.summary import SummaryRow
from comparisons.util.table import memory

GIVEN = {
    "data": "--data",
    "orders": "--orders",
    "prompt_format": "--prompt-format",
    "dtype": "--dtype",
    "quantize": "--quantize",
    "blocks": "--blocks",
    "train_items": "--train-items",
    "plugins": "--plugins",
    "seed": "--seed",
}
"""What a command repeats of the specification where it isn't the default."""

DEFAULTS = {"orders": "both", "dtype": "auto", "seed": 0}


def sweep_sections(record: Record, figures: Figures) -> list[Block]:
    """The answer, the best settings, how to confirm them, and the figures."""
    pairs = two_sided(record.summary)
    found = section("Answer", Bullets(tuple(map(escaped, _answers(record)))))
    best = best_table(record.summary)
    shown_best = best if best.rows else Paragraph("Every cell failed.")
    found += section("Best settings", Paragraph(_caution(record)), shown_best)
    if pairs:
        text = (
            "The best in both directions at once; two-sided is the mean of the shifts in the directions wanted. "
            "It has no interval: the choice was made by it."
        )
        found += [Paragraph(text), two_sided_table(pairs)]
    found += _confirming(record, pairs)
    text = (
        "Above 0 more of the behavior was wanted, below it less; 0 is the baseline. The best of each direction is "
        "framed. Hatched cells failed or lost more than half of the letters' probability."
    )
    found += section("Shift by layer and multiplier", Paragraph(text), *figures.maps)
    found += section("Shift by layer", *figures.curves) if figures.curves else []
    if figures.cost_maps:
        sets = ", ".join(dict.fromkeys(row.knowledge_set for row in record.summary.rows if row.knowledge_set))
        text = f"Measured on {escaped(sets)}."
        found += section("Cost by layer and multiplier", Paragraph(text), *figures.cost_maps)
    return found


def sweep_ledger(record: Record) -> list[Block]:
    """What the whole sweep took: its cells share their forward passes, so that one alone says little."""
    rows = record.summary.rows
    fit = max((row.fit_seconds or 0.0 for row in rows), default=0.0)
    evaluated = sum(row.eval_seconds or 0.0 for row in rows)
    peak = max((row.peak_memory_bytes or 0 for row in rows), default=0)
    text = f"{len(rows)} cells; evaluation {evaluated:.1f} s, all together; longest fit behind a cell {fit:.1f} s"
    text += f"; peak memory {memory(peak)}." if peak else "."
    return section("Time, memory and parameters", Paragraph(text))


def _answers(record: Record) -> list[str]:
    lines = []
    for behavior in record.summary.subjects:
        rows = record.summary.of(behavior)
        for direction, verb in (("pos", "raise"), ("neg", "lower")):
            asked = [row for row in rows if row.direction == direction and not row.control]
            if asked:
                lines.append(f"To {verb} {behavior}, {_answer(best_rows(asked, direction), len(asked))}")
    return lines


def _answer(ranked: Sequence[SummaryRow], tried: int) -> str:
    if not ranked:
        return "no cell is usable: all failed or answer something other than the two letters."
    first = ranked[0]
    if not moved(first):
        return f"none of {tried} cells moved it measurably; the furthest was {_setting(first)}, {estimate(first)}."
    return f"{_setting(first)} moved most of {tried} cells: {estimate(first)}."


def _setting(row: SummaryRow) -> str:
    layer = "" if row.swept_layer is None else f" at layer {row.swept_layer},"
    return f"{row.series}{layer} strength {row.strength:g}".replace(", strength", " and strength")


def _caution(record: Record) -> str:
    counts = {row.n_items for row in record.summary.rows if row.n_items is not None}
    items = f"{max(counts)} " if counts else ""
    text = f"The best of many cells is optimistic: it was picked for what it did on these {items}questions. "
    if record.on_dev:
        return text + "They are the dev split, cut from the training pairs and not fitted on; confirm on test."
    return text + "They are the test questions, so none are left to confirm on: use other data, or a sweep on dev."


def _confirming(record: Record, pairs: Sequence[TwoSided]) -> list[Block]:
    """The commands that evaluate the best settings on test; nothing for a sweep that has seen it."""
    if not record.on_dev:
        return []
    usable = [pair for pair in pairs if pair.pos.swept_layer is not None and not pair.pos.control]
    chosen = [pair.pos for pair in usable if pair.shift > 0] or _one_sided(record)
    if not chosen:
        return []
    commands = "\n".join(_command(record, row) for row in chosen)
    return [Heading("Confirm on test", 3), Code(commands, "sh")]


def _one_sided(record: Record) -> list[SummaryRow]:
    found = []
    for behavior in record.summary.subjects:
        rows = [row for row in record.summary.of(behavior) if row.swept_layer is not None and not row.control]
        for name in series(rows):
            mine = [row for row in rows if row.series == name]
            found += [*best_rows(mine, "pos"), *best_rows(mine, "neg")][:1]
    return found


def _command(record: Record, row: SummaryRow) -> str:
    """The `compare run` of one setting."""
    spec = record.part("specification")
    words = ["compare", "run", "--behavior", row.behavior, "--methods", row.method]
    words += ["--layer", layer_text(row), "--strengths", shown(row.strength)]
    directions = spec.get("directions") or ["pos", "neg"]
    words += ["--directions", ",".join(directions)] if len(directions) == 1 else []
    if not record.part("model").get("embedded"):
        words += ["--model", str(spec.get("model") or row.model)]
    for name, option in GIVEN.items():
        value = spec.get(name)
        if value is not None and value != DEFAULTS.get(name):
            words += [option, str(value)]
    words += _settings(record, row)
    return shlex.join(words)


def _settings(record: Record, row: SummaryRow) -> list[str]:
    """The other settings that were typed for the stack's methods, with this cell's values."""
    given = record.part("specification").get("settings") or {}
    words = []
    for method, values in given.items():
        if method not in {part.partition(":")[0] for part in row.method.split("+")}:
            continue
        for name, texts in values.items():
            value = row.settings.get(f"{method}.{name}", texts[0]) if len(texts) > 1 else texts[0]
            words += ["--set", f"{method}.{name}={shown(value)}"]
    return words
