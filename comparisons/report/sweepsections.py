"""The sections that only a sweep has: answer with its map, curves, best settings and how to confirm them, costs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from comparisons.model.source import EMBEDDED, ModelSource, data_for
from comparisons.report.answer import short_limits
from comparisons.report.asked import data_of
from comparisons.report.blocks import Block, Bullets, Caution, Code, Heading, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.shift import knowledge_sets
from comparisons.report.sweep import TwoSided, best_rows, best_two_sided, grids, series
from comparisons.report.sweeppanels import curve_panels, map_panels
from comparisons.report.table import direction_text, preferred
from comparisons.results.findings import estimate, intended, is_broken, moved, noise_texts
from comparisons.results.gates import gates
from comparisons.results.record import Record, shown
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import NOTHING, Column, Table, interval, memory, number

TOP = 3
"""Settings shown for each behavior, stack and direction."""

NAMED = 3
"""Failed cells whose error is told; of more, the number is enough."""

REPEATED = {
    "measure": "--measure",
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

DEFAULTS = {"orders": "both", "dtype": "auto", "seed": 0, "measure": "letters"}
"""What needs no repeating; how the embedded model is measured by default, which of others is not known here."""

BEST: tuple[tuple[Column, Callable[[SummaryRow], str]], ...] = (
    (Column("behavior", align="left"), lambda row: row.subject),
    (Column("method", align="left"), lambda row: row.series),
    (Column("direction", align="left"), direction_text),
    (Column("layer"), lambda row: _layer(row)),
    (Column("strength"), lambda row: f"{row.strength:g}"),
    (Column("shift", opens="choices"), lambda row: number(row.shift, signed=True)),
    (Column("95% CI", interval=True), lambda row: interval(row.shift_ci)),
    (Column("lost mass", rank=2), lambda row: number(row.lost_mass)),
    (Column("letter bias", rank=3), lambda row: number(row.letter_bias, signed=True)),
    (Column("preferred", rank=3), preferred),
    (Column("cost", rank=1, opens="knowledge"), lambda row: number(row.cost, signed=True)),
    (Column("95% CI", rank=4, interval=True), lambda row: interval(row.cost_ci)),
)

BOTH: tuple[tuple[Column, Callable[[TwoSided], str]], ...] = (
    (Column("behavior", align="left"), lambda pair: pair.pos.subject),
    (Column("method", align="left"), lambda pair: pair.pos.series),
    (Column("layer"), lambda pair: _layer(pair.pos)),
    (Column("strength"), lambda pair: f"{pair.pos.strength:g}"),
    (Column("shift pos"), lambda pair: number(pair.pos.shift, signed=True)),
    (Column("95% CI", interval=True), lambda pair: interval(pair.pos.shift_ci)),
    (Column("shift neg"), lambda pair: number(pair.neg.shift, signed=True)),
    (Column("95% CI", interval=True), lambda pair: interval(pair.neg.shift_ci)),
    (Column("two-sided"), lambda pair: number(pair.shift, signed=True)),
)


def sweep_sections(record: Record, gallery: Gallery) -> list[Block]:
    """The answer and its map, the curves, the best settings, how to confirm them, and what they cost."""
    summary = record.summary
    pairs = [pair for rows in _by_series(summary) if (pair := best_two_sided(rows))]
    best = best_table(summary)
    limits = tuple(f"{name}: {short}" for name in summary.subjects if (short := short_limits(gates(summary), name)))
    first = [Caution(tuple(map(escaped, limits)))] if limits else []
    blocks = section("Answer", *first, Bullets(tuple(map(escaped, _answers(summary)))))
    blocks += _maps(record, gallery)
    blocks += section(
        "Best settings", Paragraph(_caution(record)), best if best.rows else Paragraph("Every cell failed.")
    )
    if pairs:
        text = (
            "The best in both directions at once; two-sided is the mean of the shifts in the directions wanted. "
            "It has no interval: the choice was made by it."
        )
        table = Table.of(BOTH, pairs, lambda pair: pair.pos.subject).without_empty()
        blocks += [Paragraph(text), table]
    return blocks + _confirming(record, pairs) + _costs(record, gallery)


def _maps(record: Record, gallery: Gallery) -> list[Block]:
    """The map of shifts, which is what a sweep is for, and its rows as curves."""
    swept = grids(record.summary)
    text = (
        "Above 0 more of the behavior was wanted, below it less; 0 is the baseline. The best of each direction is "
        "framed. Hatched cells failed"
    )
    letters = any(row.lost_mass is not None for row in record.summary.rows)
    text += " or lost more than half of the letters' probability." if letters else "."
    maps = gallery.draw("sweep", map_panels(swept, "shift"), "Shift by layer and multiplier")
    curves = gallery.draw("sweep-layers", curve_panels(swept), "Shift by layer")
    return [*maps, Paragraph(text), *(section("Shift by layer", *curves) if curves else [])]


def _costs(record: Record, gallery: Gallery) -> list[Block]:
    panels = map_panels(grids(record.summary), "cost")
    costs = gallery.draw("sweep-cost", panels, "Knowledge cost by layer and multiplier")
    text = f"Measured on {knowledge_sets(record)}."
    return section("Cost by layer and multiplier", Paragraph(text), *costs) if costs else []


def sweep_ledger(record: Record) -> list[Block]:
    """What the whole sweep took: its cells share their forward passes, so that one alone says little."""
    rows = record.summary.rows
    fit = max((row.fit_seconds or 0.0 for row in rows), default=0.0)
    evaluated = sum(row.eval_seconds or 0.0 for row in rows)
    peak = max((row.peak_memory_bytes or 0 for row in rows), default=0)
    text = f"{len(rows)} cells; evaluation {evaluated:.1f} s, all together; longest fit behind a cell {fit:.1f} s"
    text += f"; peak memory {memory(peak)}." if peak else "."
    return section("Time, memory and parameters", Paragraph(text))


def best_table(summary: Summary, top: int = TOP) -> Table:
    """The best settings of each behavior, stack and direction.

    Args:
        summary: of a sweep.
        top: how many of each.
    """
    best = []
    for rows in _by_series(summary):
        for direction in ("pos", "neg"):
            best += (best_rows(rows, direction) or best_rows(rows, direction, broken=True))[:top]
    return Table.of(BEST, best, lambda row: row.subject, _notes(summary, best), lambda row: row.cell).without_empty()


def _by_series(summary: Summary) -> list[list[SummaryRow]]:
    return [
        [row for row in summary.of(behavior) if row.series == name]
        for behavior in summary.subjects
        for name in series(summary.of(behavior))
    ]


def _layer(row: SummaryRow) -> str:
    """The layer swept, or that of a cell for reference, if it has one."""
    layer = row.layer if row.swept_layer is None else row.swept_layer
    return NOTHING if layer is None else str(layer)


def _notes(summary: Summary, best: Sequence[SummaryRow]) -> list[str]:
    notes = noise_texts(summary.rows)
    if any(intended(row) <= 0 for row in best):
        notes.append("A shift against its direction is the best of that direction all the same: nothing did better.")
    if any(is_broken(row) for row in best):
        notes.append(
            "Where the lost mass is above a half, no setting did better: the model answers something other than the "
            "two letters, and its shift says little."
        )
    failed = [row for row in summary.rows if row.failed]
    notes += [f"{row.cell} failed: {row.error or 'no reason was kept'}" for row in failed[:NAMED]]
    if len(failed) > NAMED:
        cells = [row for row in summary.rows if not row.is_baseline]
        notes.append(f"{len(failed)} of {len(cells)} cells failed; summary.json has every error.")
    return notes


def _answers(summary: Summary) -> list[str]:
    lines = []
    for behavior in summary.subjects:
        for direction, verb in (("pos", "raise"), ("neg", "lower")):
            rows = [row for row in summary.of(behavior) if row.direction == direction and not row.control]
            if rows:
                lines.append(f"To {verb} {behavior}, {_answer(best_rows(rows, direction), len(rows))}")
    return lines


def _answer(ranked: Sequence[SummaryRow], tried: int) -> str:
    if not ranked:
        return "no cell is usable: all failed or answer something other than the two letters."
    first = ranked[0]
    if not moved(first):
        none = f"none of {tried} cells moved it that way measurably"
        return f"{none}; the furthest was {_setting(first)}, {estimate(first)}."
    return f"{_setting(first)} moved most of {tried} cells: {estimate(first)}."


def _setting(row: SummaryRow) -> str:
    layer = "" if row.swept_layer is None else f" at layer {row.swept_layer}"
    return f"{row.series}{layer}{' and' if layer else ''} strength {row.strength:g}"


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
    chosen = [pair.pos for pair in usable if pair.shift > 0] or _one_sided(record.summary)
    if not chosen:
        return []
    commands = "\n".join(_command(record, row) for row in chosen)
    return [Heading("Confirm on test", 3), Code(commands, "sh")]


def _one_sided(summary: Summary) -> list[SummaryRow]:
    """The best of each behavior and stack in the first direction that has one."""
    best = []
    for rows in _by_series(summary):
        usable = [row for row in rows if row.swept_layer is not None and not row.control]
        best += [*best_rows(usable, "pos"), *best_rows(usable, "neg")][:1]
    return best


def _command(record: Record, row: SummaryRow) -> str:
    spec = record.part("specification")
    words = ["compare", "run", "--behavior", row.behavior, "--methods", row.method]
    words += ["--layer", _layer(row), "--strengths", shown(row.strength)]
    directions = spec.get("directions") or ["pos", "neg"]
    words += ["--directions", ",".join(directions)] if len(directions) == 1 else []
    model = "" if record.part("model").get("embedded") else str(spec.get("model") or row.model)
    words += ["--model", model] if model else []
    own, data = str(data_for(None, [ModelSource(model or EMBEDDED)])), data_of(record)[0]
    words += ["--data", data] if data != own else []
    defaults = {name: value for name, value in DEFAULTS.items() if name != "measure" or not model}
    for name, option in REPEATED.items():
        value = spec.get(name)
        if value is not None and value != defaults.get(name):
            words += [option, str(value)]
    return shlex.join([*words, *_settings(record, row)])


def _settings(record: Record, row: SummaryRow) -> list[str]:
    """The other settings that were typed for the stack's methods, with this cell's values."""
    words = []
    for method, values in (record.part("specification").get("settings") or {}).items():
        if method not in {part.partition(":")[0] for part in row.method.split("+")}:
            continue
        for name, texts in values.items():
            value = row.settings.get(f"{method}.{name}", texts[0]) if len(texts) > 1 else texts[0]
            words += ["--set", f"{method}.{name}={shown(value)}"]
    return words
