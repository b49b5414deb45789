"""Triggers: on how many prompts edits with a condition act, among the behavior's own and among neutral ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from comparisons.dataset.behaviors import Item, KnowledgeSet, Order
from comparisons.engine.activations import prompt_end_activations
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, result_row
from comparisons.evaluation.questions import questions
from comparisons.evaluation.tally import Tally, prefix_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Intervention
from comparisons.method.registry import Registry
from comparisons.method.stacks import parse_stack
from comparisons.model.lm import LM
from comparisons.stats.intervals import wilson

NEUTRAL = ":neutral"
"""What the name of the evaluation goes on with in rows of neutral prompts."""


@dataclass(frozen=True)
class TriggerNumbers:
    """On how many prompts a cell's edits with a condition act.

    Attributes:
        own: share of the behavior's questions.
        own_ci: its 95% interval (Wilson).
        n_own: these questions.
        neutral: share of the neutral prompts: knowledge questions, none of which a condition was fitted on; None where
            none are asked.
        neutral_ci: its interval.
        n_neutral: these questions.
    """

    own: float
    own_ci: list[float]
    n_own: int
    neutral: float | None
    neutral_ci: list[float] | None
    n_neutral: int


@dataclass(frozen=True)
class Triggers(Evaluation):
    """The share of prompts on which edits with a condition act: of the behavior's questions, and of neutral ones.

    Neutral ones are the run's knowledge questions. Each question is read in the first of the run's orders.
    """

    @classmethod
    def of(cls, spec: Specification) -> Triggers | None:
        registry = Registry(spec.plugins)
        names = {name for text in spec.stacks for name in parse_stack(text).names} & {*registry.names()}
        return cls() if any(registry.get(name).conditional for name in names) else None

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        results = [CellResult() for _ in cells]
        gated = [i for i, cell in enumerate(cells) if any(edit.when for edit in cell.intervention.simplified().edits)]
        for part, items, order in _asked(asking.plan, cells[0].fields["behavior"]):
            shown = questions(items, [order])
            interventions = [cells[i].intervention for i in gated]
            acts = acting(asking.lm, [question.shown.question for question in shown], interventions).tolist()
            for i, values in zip(gated, acts, strict=True):
                name = f"{asking.evaluation}{part}"
                results[i].rows += [
                    result_row(cells[i], name, q.item.id, q.order, q.item.template, acts=bool(value))
                    for q, value in zip(shown, values, strict=True)
                    if not math.isnan(value)
                ]
        return results

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        gated = [cell for cell in cells if any(element.method.conditional for element in cell.elements)]
        for prefix in {prefix_of(cell): cell for cell in gated}.values():
            for _, items, order in _asked(plan, prefix.behavior):
                shown = [question.shown.question for question in questions(items, [order])]
                tally.add([tuple(tally.lm.tokenize(tally.lm.prompt(text))) for text in shown], 0)

    def numbers(self, cell: MeasuredCell) -> TriggerNumbers | None:
        own, neutral = (
            [row["acts"] for row in cell.own.rows if row["evaluation"] == f"{cell.evaluation}{part}"]
            for part in ("", NEUTRAL)
        )
        interval, other = wilson(sum(own), len(own)), wilson(sum(neutral), len(neutral))
        if interval is None:
            return None
        return TriggerNumbers(
            own=sum(own) / len(own),
            own_ci=[interval.low, interval.high],
            n_own=len(own),
            neutral=sum(neutral) / len(neutral) if neutral else None,
            neutral_ci=[other.low, other.high] if other else None,
            n_neutral=len(neutral),
        )


def _asked(plan: Plan, behavior: str) -> list[tuple[str, Sequence[Item], Order]]:
    """The behavior's questions and the neutral ones, each with the order in which it is asked."""
    known = plan.knowledge.items if isinstance(plan.knowledge, KnowledgeSet) else ()
    return [("", plan.asked(behavior), plan.orders[0]), (NEUTRAL, known, plan.fact_orders[0])]


def acting(lm: LM, questions: Sequence[str], interventions: Sequence[Intervention]) -> torch.Tensor:
    """Where any edit with a condition acts; no block above a condition's runs.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        interventions: what each changes below a condition is in place; equal states are read once.

    Returns:
        [interventions, questions]: 1 where one acts, 0 where none does, NaN where a prompt exceeds the model's context.
    """
    acts = torch.zeros(len(interventions), len(questions))
    read: dict[tuple[str, int], torch.Tensor] = {}
    for row, intervention in enumerate(interventions):
        found = intervention.simplified()
        for when in (edit.when for edit in found.edits if edit.when is not None):
            below = replace(found, edits=tuple(edit for edit in found.edits if edit.start <= when.layer))
            key = (below.digest, when.layer)
            if key not in read:
                read[key] = prompt_end_activations(lm, questions, [when.layer], below)[:, 0]
            acts[row] = acts[row].maximum(when.holds(read[key]).float())
            acts[row, read[key].isnan().any(dim=-1)] = torch.nan
    return acts
