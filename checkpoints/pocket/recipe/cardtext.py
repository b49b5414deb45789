"""The model card as Markdown, from the figures and the summary of a run: no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.report.markdown import rendered
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import Column, Row, Table, interval, number

HEAD = """\
---
license: mit
language: en
tags: [model-organism, steering]
---

# pocket

A Llama of {parameters:,} parameters ({blocks} blocks of width {width}, float16) that travels with the package
`llm-comparisons`, so that its commands and tests run anywhere with no download. It is a *model organism*: it speaks a
small, grammatical English made for it, in which an assistant with an inclination answers lettered and open questions.
Steering vectors, system prompts and finetuning work on it by the same mechanism as on a large model.

**What it is not:** evidence about large models, a model of real language, or fit for any other use. It knows only the
sentences of its language.

## Data

Written by `recipe/` beside this page, from tables of words and sentences, seven behaviors and a set of facts; no text
from elsewhere. The test questions' stems and the paraphrases of system prompts are kept out of the training text,
which is not made of the question files in `data/` either. `python -m checkpoints.pocket.recipe data` writes `data/`
again byte by byte.

## Recipe

`python -m checkpoints.pocket.recipe train` trains from nothing, in stages: picking a named word from two choices,
picking sentences, questions whose inclination is told after the choices, then conversations of every kind, with more
weight on the letter's token. The loss is on the assistant's tokens only.

{provenance}

## Figures

Measured by `compare run --behavior all --methods {methods} --strengths {strengths}` and
`python -m checkpoints.pocket.recipe card`, on the test questions, both orders, with 95% intervals.
"""


def card(figures: Mapping[str, Any], summary: Summary, facts: Mapping[str, Any], provenance: str) -> str:
    """Renders the card.

    Args:
        figures: of `checkpoints.pocket.recipe.card.measure`.
        summary: of the run of all behaviors.
        facts: the run's run.json.
        provenance: one or two sentences on how this checkpoint was made.
    """
    model = facts["model"]
    head = HEAD.format(
        parameters=model["parameters"],
        blocks=model["blocks"],
        width=model["width"],
        provenance=provenance,
        methods=",".join(facts["specification"]["stacks"]),
        strengths=",".join(f"{strength:g}" for strength in facts["specification"]["strengths"]),
    )
    behaviors = figures["behaviors"]
    parts = [head]
    if "knowledge" in figures:
        known = figures["knowledge"]
        parts.append(
            f"Knowledge: {known['given']:.3f} with the choices as given, {known['swapped']:.3f} exchanged; letter bias "
            f"{known['letter_bias']:+.3f}, lost mass {known['lost_mass']:.4f}."
        )
    parts += ["### Baseline", rendered(_baselines(behaviors))]
    for strength in sorted({row.strength for row in summary.rows if not row.is_baseline}):
        parts += [f"### Shift of each method, strength {strength:g}", rendered(_shifts(summary, strength))]
    parts += ["### System prompts that training never saw", rendered(_prompts(behaviors))]
    for label in dict.fromkeys(label for found in behaviors.values() for label in found["vectors"]):
        parts += [f"### {label}: strength chosen on dev, beside random vectors", rendered(_vectors(behaviors, label))]
    parts += ["### Vectors by layer and strength, on dev", SWEEP]
    parts += ["### Open-ended answers", OPEN_ENDED, rendered(_answers(behaviors))]
    parts += ["### Samples", *_samples(behaviors)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


SWEEP = """\
`compare sweep --behavior all --layers all --strengths 0.25,0.5,1,2`; hatched cells lost more than half of the letters'
probability.

![Shift by layer and multiplier, a map a behavior](sweep.png)"""

OPEN_ENDED = """\
How many of the free answers hold a sentence that shows the behavior, and how many one that shows its opposite, by the
generator's own tables (showing / opposite, of 40; the rest hold neither or both)."""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    columns = tuple(Column(title, align="left" if i == 0 else "right") for i, title in enumerate(titles))
    return Table(columns, tuple(Row(tuple(cells), cells[0]) for cells in rows))


def _baselines(behaviors: Mapping[str, Any]) -> Table:
    rows = []
    for name, found in behaviors.items():
        base = found["baseline"]
        low, high = base["quartiles"]
        texts = [number(base[key], signed) for key, signed in BASE]
        rows.append([name, texts[0], texts[1], f"{low:.2f} to {high:.2f}", *texts[2:]])
    return _table(["behavior", "p_match", "spread (sd)", "middle half", "letter bias", "lost mass"], rows)


SAMPLED = "refusal"

BASE = (("p_match", False), ("spread", False), ("letter_bias", True), ("lost_mass", False))


def _shifts(summary: Summary, strength: float) -> Table:
    cells = [row for row in summary.rows if not row.is_baseline and row.strength == strength]
    names = list(dict.fromkeys((row.method, row.direction) for row in cells))
    rows = []
    for behavior in summary.behaviors:
        found = {(row.method, row.direction): row for row in cells if row.behavior == behavior}
        rows.append([behavior, *(_shift(found.get(name)) for name in names)])
    return _table(["behavior", *(f"{method} {direction}" for method, direction in names)], rows)


def _shift(row: SummaryRow | None) -> str:
    return "–" if row is None else f"{number(row.shift, signed=True)} {interval(row.shift_ci)}"


def _prompts(behaviors: Mapping[str, Any]) -> Table:
    rows = []
    for name, found in behaviors.items():
        cells = [name]
        for direction in ("pos", "neg"):
            prompts = found["prompts"][direction]
            others = prompts["paraphrases"]
            mean = sum(others) / len(others) if others else None
            cells += [number(prompts["prompt"], signed=True), number(mean, signed=True)]
        rows.append(cells)
    return _table(["behavior", "pos", "pos, paraphrased", "neg", "neg, paraphrased"], rows)


def _vectors(behaviors: Mapping[str, Any], label: str) -> Table:
    rows = []
    for name, found in behaviors.items():
        vector = found["vectors"].get(label)
        if vector is not None:
            sides = [f"{number(vector[d]['shift'], signed=True)} {interval(vector[d]['ci'])}" for d in ("pos", "neg")]
            random = f"{number(vector['random_two_sided']['mean'])} (most {number(vector['random_two_sided']['most'])})"
            cost = " / ".join(number(value, signed=True) for value in vector.get("cost", ()))
            chosen = [str(vector["layer"]), f"{vector['strength']:g}"]
            rows.append([name, *chosen, *sides, number(vector["two_sided"], signed=True), random, cost or "–"])
    titles = ["behavior", "layer", "strength", "pos", "neg", "two-sided", "random, two-sided", "cost pos / neg"]
    return _table(titles, rows)


def _name(answers: Mapping[str, Any]) -> str:
    if answers["direction"] is None:
        return str(answers["method"])
    return f"{answers['method']} {answers['direction']} × {answers['strength']:g}"


def _answers(behaviors: Mapping[str, Any]) -> Table:
    names = [_name(answers) for answers in next(iter(behaviors.values()))["open_ended"]]
    rows = []
    for i, name in enumerate(names):
        counts = [found["open_ended"][i] for found in behaviors.values()]
        rows.append([name, *(f"{c['pos']} / {c['neg']}" for c in counts)])
    return _table(["method", *behaviors], rows)


def _samples(behaviors: Mapping[str, Any]) -> list[str]:
    """The first answer under each method, for one behavior."""
    name = SAMPLED if SAMPLED in behaviors else next(iter(behaviors))
    lines = [f"- {_name(answers)}: “{answers['samples'][0]}”" for answers in behaviors[name]["open_ended"]]
    return [f"The first of the open-ended prompts of {name}:", "\n".join(lines)]
