"""What a report says: the answer first, then tables and figures, then how to read, repeat and use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comparisons.experiment.specification import HARNESS
from comparisons.method.recipes import TARGET
from comparisons.method.vectors import READ
from comparisons.report.answer import answer_section
from comparisons.report.asked import asked_of, data_of
from comparisons.report.blocks import Block, Bullets, Caution, Code, Document, Paragraph, section
from comparisons.report.chosen import chosen_section
from comparisons.report.contrasts import contrast_section
from comparisons.report.evidence import evidence, models_section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.pooled import pooled_section
from comparisons.report.sections import plugin_sections, sections
from comparisons.report.shift import cost_section, shift_section
from comparisons.report.snippet import snippet
from comparisons.report.sweepsections import sweep_ledger, sweep_sections
from comparisons.report.table import ledger_table
from comparisons.results.findings import FEW, moved
from comparisons.results.gates import gates
from comparisons.results.record import Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import count

READING = (
    "**p_match**: the probability of the choice that matches the behavior, against the choice that contrasts with it; "
    "mean over questions{orders}.",
    "**shift**: p_match minus that of the baseline, paired by question. `pos` wants more of the behavior, `neg` less.",
    "**[low, high]**: 95% bootstrap interval (BCa) over questions. An interval that holds 0 is no evidence of a "
    "change.",
    "**p**, **p (Holm)**: sign-flip permutation test of the shift, raw and corrected over all cells of this run.",
    "**cost**: knowledge of the baseline minus that of the cell, on the same questions; negative is a gain.",
)
"""The words of every report."""

AT_ONCE = (
    "The answer's intervals are wider than the table's: a shift's holds over all cells of the behavior at once, a "
    "difference's over all pairs of the direction."
)
"""Of reports whose cells were compared."""

LETTERS = (
    "**letter bias**: how much the first letter is preferred whatever it says; 0 is none.",
    "**lost mass**: probability on something other than the two letters. A cell that loses more than half answers "
    "something else: it is called broken, and its shift is not shown.",
)
"""Words of a report on letters."""

ANSWERS = (
    "**p_match**: how likely the answer that matches the behavior is, against the one that contrasts with it: "
    "1/(1+e^−z), with z the difference of their log-likelihoods a token, as answers to the question without its "
    "choices; mean over questions. There are no letters, so it says nothing of how the model answers with them.",
    "**preferred**: the share of questions whose matching answer is the likelier one, z above 0; **content shift**: "
    "the shift of z, in nats a token.",
    "**knowledge**: the share of knowledge questions whose right choice is the likeliest a byte, as an answer to the "
    "question without its choices.",
)
"""Words of a report on the choices' texts."""

WRONG_WAY = "**anti-steerable**: the share of questions that moved the wrong way."

MORE: tuple[tuple[Callable[[SummaryRow], bool], str], ...] = (
    (
        lambda row: row.letter_shift is not None,
        "**content shift**, **letter shift**: the shift in logits, split into what follows the content of the "
        "choices and what follows their letters; a letter shift above 0 prefers the first letter more than before.",
    ),
    (
        lambda row: row.letter_cosine is not None,
        "**letter cosine**: of the vector, as it is added, with the direction from the second letter to the "
        "first at its block, read on the training pairs; far from 0, the vector is in part a liking for a letter.",
    ),
    (
        lambda row: row.random_rank_p is not None,
        "**p (random)**: the share of random directions of the same norm, put in the place of the cell's "
        "vectors, that move the behavior as far, either way; in a stack, as far from what its other parts do alone.",
    ),
    (
        lambda row: row.matched_rank_p is not None,
        "**p (matched)**: the same among random vectors with the spread of the training pairs' differences, "
        "which is what vectors from shuffled labels have; the stricter of the two.",
    ),
    (
        lambda row: row.numerical_noise is not None,
        "**numerical noise**: what rounding to 16 bits does to p_match, measured on training questions. What differs "
        "from question to question is in the spread from which intervals are made; what all share is added to them.",
    ),
    (
        lambda row: row.control,
        "**control**: a method meant to do nothing. What it moves is what a method must beat; it never wins, and "
        "it counts in the correction.",
    ),
)
"""Words that a report explains where some row has them."""

LAST = (
    "**strength**: the dose; **layer**: the 0-based block whose output a vector changes.",
    "**tokens to fit**: a token of a training pass counts as three; fits are shared, and counted in each cell that "
    "rests on them. **Tokens to evaluate** and seconds of evaluation are shared evenly by cells that run together.",
    "Peak memory is the most that had been in use when the cell ended.",
    "Intervals cover the choice of questions{seeds}.",
)

ONE_SEED = ". They don't cover the luck of a seed: this is one"
SEVERAL = ", and that of seeds where a method has several fits"

TOLD = (
    *("directions", "strengths", "layer", "layers", "split", "measure", "orders", "knowledge"),
    *("train_items", "test_items", "knowledge_items", "quantize"),
)
"""What is told of the specification, in this order."""


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
        *([*_limits(record), *_asked(record)] if record.is_sweep else []),
        *chosen_section(record, gallery),
        *(sweep_ledger(record) if record.is_sweep else _ledger(record)),
        *_reading(record),
        *_repeat(record),
        *_use(record),
        *_provenance(record),
    ]
    title = f"{aim} {escaped(subject(record))} in {escaped(model)}"
    return Document(title, tuple(blocks), record.summary.subjects)


def subject(record: Record) -> str:
    """What a report is about, in words: its behavior, or how many."""
    behaviors = record.summary.behaviors
    return behaviors[0] if len(behaviors) == 1 else f"{len(behaviors)} behaviors"


def _warnings(record: Record) -> list[Block]:
    """What must be known before any number is read, in few words; the rest is in `_limits`."""
    embedded = record.part("model").get("embedded")
    lines = ["The embedded model is a rehearsal: no evidence about large models."] if embedded else []
    few = [
        row for row in record.summary.rows if row.n_items is not None and row.n_items < FEW and row.n_clusters is None
    ]
    if few:
        least = min(row.n_items or 0 for row in few)
        names = ", ".join(dict.fromkeys(row.subject for row in few))
        kind = "dev" if record.on_dev else "test"
        lines.append(f"Only {least} {kind} questions for {names}: too few for the intervals to mean much.")
    return [Caution(tuple(map(escaped, lines)))] if lines else []


def _limits(record: Record) -> list[Block]:
    """What limits the answer, each with its mend, and what the run had to say of its data."""
    lines = [*(gate.text for gate in gates(record.summary)), *map(str, record.facts.get("notes") or [])]
    return section("What limits this", Caution(tuple(map(escaped, lines)))) if lines else []


def _asked(record: Record) -> list[Block]:
    """Which data and knowledge questions stand behind the numbers, and by what they are measured."""
    texts = [text for text in (asked_of(record), *record.measured) if text]
    return section("What was asked", *(Paragraph(escaped(text)) for text in texts)) if texts else []


def _comparison(record: Record, gallery: Gallery) -> list[Block]:
    return [
        *answer_section(record, gallery),
        *_limits(record),
        *_asked(record),
        *shift_section(record),
        *contrast_section(record),
        *pooled_section(record),
        *models_section(record.summary),
        *cost_section(record, gallery),
        *(block for of in sections() for block in of.blocks(record, gallery)),
        *plugin_sections(record),
        *evidence(record.summary.rows),
    ]


def _ledger(record: Record) -> list[Block]:
    rows = [row for name in record.summary.subjects for row in record.summary.of(name)]
    return section("Cost of each method", ledger_table(rows))


def _reading(record: Record) -> list[Block]:
    """How to read the report: what its words mean, and those words only that it uses."""
    orders = " and both orders of the two choices"
    if record.part("specification").get("orders") == "given":
        once = "the paper's way: a preference for a letter is not averaged out"
        orders = f", each asked once, in the order given ({once})"
    first, *words = READING
    if record.part("specification").get("measure") == "answers":
        first, content, knowledge = ANSWERS
        own = not str(record.part("specification").get("knowledge")).startswith(HARNESS)
        asked = own and any(row.knowledge is not None for row in record.summary.rows)
        words = [content, *([knowledge] if asked else []), *words]
    else:
        words += LETTERS
    more = [text for uses, text in MORE if any(map(uses, record.summary.rows))]
    several = any(row.fits and len(row.fits["seeds"]) > 1 for row in record.summary.rows)
    *last, covered = LAST
    last = [*last, covered.format(seeds=SEVERAL if several else ONE_SEED)]
    words += [AT_ONCE] if any(row.shift_band for row in record.summary.rows) else []
    return section("How to read this", Bullets((first.format(orders=orders), *words, WRONG_WAY, *more, *last)))


def _repeat(record: Record) -> list[Block]:
    """The command; nothing where none is known."""
    command = record.facts.get("command")
    if not command:
        return []
    text = "The same command resumes or repeats this run."
    return section("Run it again", Paragraph(text), Code(str(command), "sh"))


def _use(record: Record) -> list[Block]:
    """The program that applies the best intervention, or why there is none."""
    if record.intervention is None:
        return []
    best = next((row for row in record.summary.rows if row.cell == record.intervention.get("cell")), None)
    if best is not None and not moved(best):
        text = f"`best/` holds {escaped(best.cell)}, the furthest; but it moved nothing measurably, so use none."
        return section("Use the best intervention", Paragraph(text))
    cell = escaped(str(record.intervention.get("cell", "")))
    program = snippet(record.intervention)
    if program is None:
        text = "a short program can't show its edits; `intervention.json` there says what they are."
        return section("Use the best intervention", Paragraph(f"`best/` holds {cell}, which moved furthest; {text}"))
    text = f"This applies {cell}, which moved furthest, in plain transformers. Run it from this folder."
    if record.part("specification").get("quantize"):
        text += " The run was quantized; the program loads the full weights, so its answers can differ."
    return section("Use the best intervention", Paragraph(text), Code(program, "python"))


def _provenance(record: Record) -> list[Block]:
    """Model, data, program, machine and time; what run.json doesn't say is left out."""
    spec, identity = record.part("specification"), record.part("identity")
    lines = [
        *(("model", _model(model)) for model in record.facts.get("models") or [record.part("model")]),
        ("data", " and ".join(data_of(record))),
        ("hash of the specification", str(record.facts.get("digest") or "")),
        ("hashes of the behaviors", _pairs(identity.get("behaviors"))),
        ("hash of the knowledge questions", str(record.asked.get("knowledge") or "")),
        ("settings given", _settings(spec)),
        ("read, or trained on", _taken(record.summary.rows)),
        ("seed", "" if spec.get("seed") is None else str(spec["seed"])),
        ("seeds of fits", _seeds(record)),
        ("versions", _pairs(record.part("versions"))),
        ("commit", str(record.facts.get("git_commit") or "")),
        ("machine", _pairs(record.part("machine"))),
        ("started", str(record.facts.get("started") or "")),
        ("ended", str(record.facts.get("ended") or "")),
    ]
    return section("Provenance", Bullets(tuple(f"{escaped(name)}: {escaped(text)}" for name, text in lines if text)))


def _model(model: Mapping[str, Any]) -> str:
    parts = [str(model["name"])] if model.get("name") else []
    parts += [f"{count(model[key])} {key}" for key in ("parameters", "blocks") if isinstance(model.get(key), int)]
    for key in ("width", "dtype", "prompt_format", "digest"):
        if model.get(key) is not None:
            parts.append(f"{key.replace('_', ' ')} {model[key]}")
    return ", ".join(parts)


def _settings(spec: Mapping[str, Any]) -> str:
    told = [name for name in TOLD if not (name == "orders" and spec.get("measure") == "answers")]
    words = [f"{name} {_value(spec[name])}" for name in told if spec.get(name) not in (None, [])]
    given = spec.get("settings")
    for method, fields in given.items() if isinstance(given, Mapping) else ():
        if isinstance(fields, Mapping):
            words += [f"{method}.{name} {_value(value)}" for name, value in fields.items()]
    return ", ".join(words)


def _seeds(record: Record) -> str:
    """Those of cells with several fits, and whether pairs were drawn anew."""
    seeds = [row.fits["seeds"] for row in record.summary.rows if row.fits and len(row.fits["seeds"]) > 1]
    drawn = ", training pairs drawn anew with each" if record.part("specification").get("resample") == "pairs" else ""
    return f"{_value(sorted({seed for each in seeds for seed in each}))}{drawn}" if seeds else ""


def _taken(rows: Sequence[SummaryRow]) -> str:
    """Where methods read contrast pairs, and what they were trained on, which may have followed the measure."""
    ends = (f".{READ}", f".{TARGET}")
    found = (f"{name} {text}" for row in rows for name, text in row.settings.items() if name.endswith(ends))
    return ", ".join(dict.fromkeys(found))


def _pairs(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " and ".join(_value(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
