"""Generated choices: each cell writes an answer, the choice is found in it and held against the log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparisons.dataset.items import Choice, Presentation, find_layout
from comparisons.engine.choices import MAX_LEFT_OUT
from comparisons.engine.generate import generate
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, row_of
from comparisons.evaluation.measures import Row, clusters, interval
from comparisons.evaluation.parsing import find_choice
from comparisons.evaluation.questions import Question, questions
from comparisons.evaluation.tally import Tally, branches_of, question_prompts
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

GENERATED = "generated"
"""The evaluation's name in result rows."""

MAX_ANSWER_TOKENS = 30


@dataclass(frozen=True)
class Generated(Evaluation):
    """The choice that a written answer takes."""

    place = 4

    @classmethod
    def of(cls, spec: Specification) -> Generated | None:
        return cls() if spec.generated_choices else None

    def check(self, plan: Plan) -> None:
        if plan.measure == "answers":
            raise CompareError("--generated-choices asks for a letter: leave it out, or use --measure letters.")

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        asked = questions(asking.plan.asked(cells[0].fields["behavior"]), asking.plan.orders)
        rows = generated_rows(asking.lm, asked, [c.intervention for c in cells], [c.fields for c in cells])
        return [CellResult(each) for each in rows]

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        shown = question_prompts(tally.lm, plan.asked(cells[0].behavior), plan) if cells else []
        for prefix in tally.groups(cells):
            tally.write(shown, branches_of(cells, prefix), MAX_ANSWER_TOKENS)

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any]:
        baseline = None if cell.is_baseline else cell.baseline.rows
        return {
            "generated": generated_numbers(cell.own.first_fit.rows, baseline, cell.own.templates(GENERATED), cell.seed)
        }


def generated_rows(
    lm: LM, asked: Sequence[Question], interventions: Sequence[Intervention], fields: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """The result rows of cells that share a prompt's cache, answers drawn greedily.

    An item that doesn't leave room for an answer in one order is left out in both.

    Args:
        lm: the model.
        asked: the questions; the model reads them without the answer prefix.
        interventions: of the cells, with one prefix.
        fields: for each cell what is the same in all of its rows.

    Raises:
        CompareError: more than 2% of the questions leave no room for an answer.
    """
    shown = [(question.item.id, question.shown.question) for question in asked]
    long = without_room(lm, shown, interventions[0], MAX_ANSWER_TOKENS, "--generated-choices")
    kept = [question for question in asked if question.item.id not in long]
    answers = generate(lm, [q.shown.question for q in kept], interventions, MAX_ANSWER_TOKENS)
    choices = [shown_choices(question.shown) for question in kept]
    return [
        [_row(own, *each) for each in zip(kept, choices, texts, strict=True)]
        for own, texts in zip(fields, answers, strict=True)
    ]


def without_room(
    lm: LM, shown: Sequence[tuple[str, str]], head: Intervention, tokens: int, option: str, free: bool = False
) -> frozenset[str]:
    """The items whose prompt leaves no room for an answer in the model's context.

    Args:
        lm: the model.
        shown: each item's id and question.
        head: has the prefix under which they are asked.
        tokens: of an answer.
        option: what asks for answers, for the message.
        free: whether they may begin with a thought.

    Raises:
        CompareError: more than 2% of the questions.
    """
    if lm.context is None:
        return frozenset()
    write = lm.prompts.free_text if free else lm.prompt
    prompts = [lm.tokenize(write(question, head.system, head.examples)) for _, question in shown]
    long = [item for (item, _), prompt in zip(shown, prompts, strict=True) if len(prompt) > lm.context - tokens]
    if len(long) > MAX_LEFT_OUT * len(shown):
        raise CompareError(
            f"{len(long)} of {len(shown)} questions leave no room for an answer of {tokens} tokens in the model's "
            f"context, the first is {long[0]}: use shorter items, or leave out {option}."
        )
    return frozenset(long)


def _row(cell: Mapping[str, Any], question: Question, choices: Sequence[Choice], answer: str) -> dict[str, Any]:
    letters = {"matching": question.shown.matching, "contrast": question.shown.contrast}
    found = {"answer": answer, "parsed": find_choice(answer, choices)}
    return row_of(cell, GENERATED, question.item.id, question.order, question.item.template, **letters, **found)


def shown_choices(shown: Presentation) -> tuple[Choice, ...]:
    """The choices of a question as it is shown; only its two letters where they can't be found in it."""
    layout = find_layout(shown.question)
    if layout is not None and {shown.matching, shown.contrast} <= layout.spans.keys():
        return layout.choices(shown.question)
    return tuple(Choice(letter, "") for letter in sorted((shown.matching, shown.contrast)))


def generated_numbers(
    rows: Sequence[Row], baseline: Sequence[Row] | None, templates: Mapping[str, str | None], seed: int
) -> dict[str, Any] | None:
    """What a cell's written answers say; None where it wrote none.

    Args:
        rows: the cell's result rows of every evaluation.
        baseline: the baseline's; None for the baseline itself, which has no shift.
        templates: item -> its template.
        seed: of the intervals.

    Returns:
        "n_answers"; "unparsed": the share of them in which no choice was found; "accuracy", "accuracy_ci": the share of
        the others that is the matching choice, an item's two orders being one cluster; "agreement": the share of them
        that is the choice to which the log-probabilities give more; "n_items", "shift", "shift_ci": the difference from
        the baseline over items parsed in both, each averaged over the orders in which it is. None for what has no
        number.
    """
    mine = [row for row in rows if row["evaluation"] == GENERATED]
    if not mine:
        return None
    parsed = [row for row in mine if row["parsed"] is not None]
    hits = np.array([_matches(row) for row in parsed])
    groups = [templates.get(row["item"]) or ("item", row["item"]) for row in parsed]
    agreed = _agreements(parsed, rows)
    return {
        "n_answers": len(mine),
        "unparsed": 1 - len(parsed) / len(mine),
        "accuracy": float(hits.mean()) if parsed else None,
        "accuracy_ci": interval(hits, groups, seed),
        "agreement": sum(agreed) / len(agreed) if agreed else None,
        **_shift(parsed, baseline, templates, seed),
    }


def _matches(row: Row) -> float:
    return float(row["parsed"] == row["matching"])


def _agreements(parsed: Sequence[Row], rows: Sequence[Row]) -> list[bool]:
    """Whether each written choice is the likelier letter; questions with two equal letters are left out."""
    preferred = {
        (row["item"], row["order"]): row["matching" if row["logp_matching"] > row["logp_contrast"] else "contrast"]
        for row in rows
        if row["evaluation"] == "choices" and row["logp_matching"] != row["logp_contrast"]
    }
    keys = [(row["item"], row["order"]) for row in parsed]
    return [row["parsed"] == preferred[key] for key, row in zip(keys, parsed, strict=True) if key in preferred]


def _shift(
    parsed: Sequence[Row], baseline: Sequence[Row] | None, templates: Mapping[str, str | None], seed: int
) -> dict[str, Any]:
    found: dict[str, list[float]] = {}
    before = {
        (row["item"], row["order"]): _matches(row)
        for row in baseline or ()
        if row["evaluation"] == GENERATED and row["parsed"] is not None
    }
    for row in parsed:
        if (key := (row["item"], row["order"])) in before:
            found.setdefault(row["item"], []).append(_matches(row) - before[key])
    if not found:
        return {"n_items": 0, "shift": None, "shift_ci": None}
    values = np.array([np.mean(differences) for differences in found.values()])
    groups = clusters(list(found), templates)
    return {"n_items": len(found), "shift": float(values.mean()), "shift_ci": interval(values, groups, seed)}
