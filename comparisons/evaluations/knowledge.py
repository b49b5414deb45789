"""Knowledge: questions that have nothing to do with the behavior, on which the cost of an intervention is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from comparisons import stats
from comparisons.dataset.behaviors import KnowledgeSet
from comparisons.dataset.items import Item, Measure
from comparisons.evaluation.cells import choice_results
from comparisons.evaluation.harness import HarnessSet, harness_rows, harness_sizes
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell
from comparisons.evaluation.measures import ItemMeasures, Paired, interval, shared
from comparisons.evaluation.questions import KNOWLEDGE
from comparisons.evaluation.tally import Tally, branches_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.results.costs import CostTest

if TYPE_CHECKING:
    from comparisons.evaluation.requests import Sizes


@dataclass(frozen=True)
class Knowledge(Evaluation):
    """The probability of the right choice on knowledge questions, and what of it an intervention costs."""

    across = True
    every_fit = True
    place = 2

    @classmethod
    def of(cls, spec: Specification) -> Knowledge | None:
        return None if spec.knowledge == "none" else cls()

    def identity(self, plan: Plan) -> object:
        return plan.knowledge and plan.knowledge.digest

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        known = asking.plan.knowledge
        if known is None:
            return [CellResult() for _ in cells]
        if not isinstance(known, HarnessSet):
            return choice_results(asking, known.items, KNOWLEDGE, cells, asking.plan.fact_orders)
        rows = harness_rows(asking.lm, known, [c.intervention for c in cells], [c.fields for c in cells])
        return [CellResult(each) for each in rows]

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        known = plan.knowledge
        if isinstance(known, HarnessSet):
            _count_tasks(tally, harness_sizes(tally.lm, known), cells)
        elif known is not None:
            tally.ask(known.items, plan, cells)

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any] | None:
        known, own, plain = cell.plan.knowledge, cell.own.measures(KNOWLEDGE), cell.baseline.measures(KNOWLEDGE)
        if known is None or not (own.items and plain.items):  # imported results may lack some
            return None
        numbers: dict[str, Any] = {
            "knowledge": float(own.p_match.mean()),
            "knowledge_set": known.name,
            "n_knowledge": len(own.items),
            "knowledge_by_category": by_category(own, plain, known.items) or None,
        }
        if cell.is_baseline:
            return numbers
        spec = cell.plan.spec
        guessing = chance(known, cell.plan.measure)
        return numbers | cost_numbers(cell.paired(KNOWLEDGE), cell.seed, spec.margin, spec.limits.get("cost"), guessing)


def chance(known: KnowledgeSet | HarnessSet, measure: Measure) -> float | None:
    """What guessing knows: one half between two letters, one of its choices in texts; None of a harness's tasks."""
    if isinstance(known, HarnessSet) or not known.items:
        return None
    return 0.5 if measure == "letters" else float(np.mean([1 / max(2, len(item.choices)) for item in known.items]))


def cost_numbers(
    pair: Paired, seed: int, margin: float, limit: float | None = None, chance: float | None = None
) -> dict[str, Any]:
    """What knowledge costs, by the summary's keys.

    Args:
        pair: a cell against its baseline.
        seed: of the draws.
        margin: as by --margin.
        limit: as by --select.
        chance: what guessing knows.
    """
    mean = -float(pair.difference.mean())
    found = stats.cost_bounds(-pair.difference, clusters=pair.clusters, seed=seed)
    found = replace(found, mean=pair.cost_bound(found.mean), cut=pair.cost_bound(found.cut))
    shown, testable = found.within(margin), found.testable(margin)
    known = None if chance is None else interval(pair.before, pair.clusters, seed, shared("level", pair.noise))
    blind = known is not None and chance is not None and known[0] <= chance
    test: CostTest = {
        "verdict": "at chance" if blind else "below" if shown else "not shown" if testable else "not testable",
        "margin": margin,
        "chance": chance,
        "limit": limit,
        "mean": found.mean,
        "falls": found.falls,
        "cut": found.cut,
    }
    return {
        "cost": mean,
        "cost_ci": pair.interval(seed, sign=-1.0),
        "cost_bound": found.largest,
        "cost_test": test,
        "n_knowledge": found.count,
    }


def _count_tasks(tally: Tally, sizes: Sizes, cells: Sequence[Cell]) -> None:
    """Counts what tasks of the harness ask: continuations behind each prompt, and written answers."""
    prompts = [prompt[:-1] for prompt, _ in sizes.likelihoods]
    each = sum(1 + tokens for _, tokens in sizes.likelihoods) / max(1, len(prompts))
    for prefix, shares in tally.groups(cells).items():
        tally.add(prompts, each * sum(shares.values()))
        for most in sorted({most for _, most in sizes.texts}):
            written = [prompt for prompt, tokens in sizes.texts if tokens == most]
            tally.write(written, branches_of(cells, prefix), most)


def by_category(mine: ItemMeasures, plain: ItemMeasures, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """The mean probability of the correct choice in each category, and what it cost there.

    A category holds few questions (ten of MMLU's 570 a subject), so that its numbers are for looking at: they
    have no interval, and the cost of all questions has one.

    Args:
        mine: the cell's measures on the questions.
        plain: the baseline's.
        items: the questions, with their categories.

    Returns:
        Category -> {"n_items", "knowledge", "cost"}, sorted by name; empty where no question has one.
    """
    category = {item.id: item.category for item in items}
    before = dict(zip(plain.items, plain.p_match.tolist(), strict=True))
    found: dict[str, list[tuple[float, float]]] = {}
    for item, value in zip(mine.items, mine.p_match.tolist(), strict=True):
        name = category.get(item)
        if name and item in before:
            found.setdefault(name, []).append((value, before[item]))
    means = {name: np.mean(values, axis=0).tolist() for name, values in sorted(found.items())}
    return {
        name: {"n_items": len(found[name]), "knowledge": value, "cost": baseline - value}
        for name, (value, baseline) in means.items()
    }
