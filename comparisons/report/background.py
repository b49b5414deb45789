"""What stands around a report's numbers: their words, how to get them again and use them, where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comparisons.report.blocks import Block, Bullets, Code, Paragraph, section
from comparisons.report.markdown import escaped
from comparisons.report.snippet import snippet
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
    "**letter bias**: how much the first letter is preferred whatever it says; 0 is none.",
    "**lost mass**: probability on something other than the two letters. A cell that loses more than half answers "
    "something else: it is called broken, and its shift is not shown.",
    "**anti-steerable**: the share of questions that moved the wrong way.",
)
"""The words of every report."""

MORE: tuple[tuple[Callable[[SummaryRow], bool], str], ...] = (
    (
        lambda row: row.content_shift is not None,
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
    "Intervals cover the choice of questions. They don't cover the luck of a seed: this is one.",
)

TOLD = (
    *("directions", "strengths", "layer", "layers", "split", "orders", "knowledge", "train_items", "test_items"),
    "quantize",
)
"""What is told of the specification, in this order."""


def reading_section(record: Record) -> list[Block]:
    """How to read the report: what its words mean, and those words only that it uses."""
    orders = " and both orders of the two choices"
    if record.part("specification").get("orders") == "given":
        once = "the paper's way: a preference for a letter is not averaged out"
        orders = f", each asked once, in the order given ({once})"
    first, *words = READING
    more = [text for uses, text in MORE if any(map(uses, record.summary.rows))]
    return section("How to read this", Bullets((first.format(orders=orders), *words, *more, *LAST)))


def repeat_section(record: Record) -> list[Block]:
    """The command; nothing where none is known."""
    command = record.facts.get("command")
    if not command:
        return []
    text = "The same command resumes or repeats this run."
    return section("Run it again", Paragraph(text), Code(str(command), "sh"))


def use_section(record: Record) -> list[Block]:
    """The program that applies the best intervention, or why there is none."""
    if record.intervention is None:
        return []
    cell = escaped(str(record.intervention.get("cell", "")))
    program = snippet(record.intervention)
    if program is None:
        text = "a short program can't show its edits; `intervention.json` there says what they are."
        return section("Use the best intervention", Paragraph(f"`best/` holds {cell}, which moved furthest; {text}"))
    text = f"This applies {cell}, which moved furthest, in plain transformers. Run it from this folder."
    if record.part("specification").get("quantize"):
        text += " The run was quantized; the program loads the full weights, so its answers can differ."
    return section("Use the best intervention", Paragraph(text), Code(program, "python"))


def provenance_section(record: Record) -> list[Block]:
    """Model, data, program, machine and time; what run.json doesn't say is left out."""
    spec, identity = record.part("specification"), record.part("identity")
    lines = [
        *(("model", _model(model)) for model in record.facts.get("models") or [record.part("model")]),
        ("data", str(spec.get("data") or "embedded") if spec else ""),
        ("hash of the specification", str(record.facts.get("digest") or "")),
        ("hashes of the behaviors", _pairs(identity.get("behaviors"))),
        ("hash of the knowledge questions", str(record.asked.get("knowledge") or "")),
        ("settings given", _settings(spec)),
        ("seed", "" if spec.get("seed") is None else str(spec["seed"])),
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
    words = [f"{name} {_value(spec[name])}" for name in TOLD if spec.get(name) not in (None, [])]
    given = spec.get("settings")
    for method, fields in given.items() if isinstance(given, Mapping) else ():
        if isinstance(fields, Mapping):
            words += [f"{method}.{name} {_value(value)}" for name, value in fields.items()]
    return ", ".join(words)


def _pairs(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " and ".join(_value(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
