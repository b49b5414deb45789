"""What interventions have on dev: on the questions and prompts that a run holds out to choose by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from comparisons import stats
from comparisons.dataset.behaviors import Behavior, Order
from comparisons.dataset.items import Item, OpenPrompt
from comparisons.dataset.splits import draw
from comparisons.engine.choices import choice_logps
from comparisons.engine.free_answers import free_answers
from comparisons.evaluation.free_answers import mean_of
from comparisons.evaluation.measures import clusters
from comparisons.evaluation.questions import ItemChoices, item_choices, questions
from comparisons.evaluation.registry import evaluation_of
from comparisons.evaluations.kl import Kl, kl_on, mean_kl, prompts_of
from comparisons.evaluations.open_ended import FreeAnswers, with_room
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Specification
from comparisons.intervention import Intervention
from comparisons.judges.judge_set import JudgeSet
from comparisons.results.costs import FALLING
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class OnDev:
    """A quantity on dev, with the one-sided 95% bound by which it is limited.

    Attributes:
        value: the mean.
        bound: the upper one, of what falls the lower one; infinite where there is no interval to keep within.
    """

    value: float
    bound: float


@dataclass(frozen=True)
class Dev:
    """Where things are chosen: a behavior on a model.

    Attributes:
        fitter: of the behavior, with its model and seed.
        plan: the run.
        judges: of free answers; None where there are none in this process.
    """

    fitter: Fitter
    plan: Plan
    judges: JudgeSet | None = None

    def choices(self, tried: Sequence[Intervention]) -> ItemChoices:
        """What interventions make of the behavior's dev questions."""
        return dev_choices(self.fitter, self.fitter.behavior.dev, tried, self.plan.orders)

    def measured(self, quantity: str, tried: Sequence[Intervention]) -> list[OnDev]:
        """What interventions have of one of `results.costs.QUANTITIES`, on what is held out for it."""
        of = {"cost": self._cost, "kl": self._kl, "coherence": self._coherence}
        return of[quantity](tried)

    def _cost(self, tried: Sequence[Intervention]) -> list[OnDev]:
        items = self.plan.knowledge_dev
        facts = dev_choices(self.fitter, items, [Intervention(), *tried], self.plan.fact_orders)
        costs = facts.p_match[:1] - facts.p_match[1:]
        groups = clusters(facts.items, {item.id: item.template for item in items})
        bounds = [stats.cost_bounds(cost, clusters=groups, seed=self.fitter.seed).largest for cost in costs]
        return [OnDev(float(c.mean()), math.inf if b is None else b) for c, b in zip(costs, bounds, strict=True)]

    def _kl(self, tried: Sequence[Intervention]) -> list[OnDev]:
        prompts, tokens = prompts_of(self.plan).dev, evaluation_of(self.plan.spec, Kl).tokens
        templates, lm = [prompt.template for prompt in prompts], self.fitter.lm
        means = [mean_kl(values, templates, self.fitter.seed) for values in kl_on(lm, prompts, tried, tokens)[1]]
        return [OnDev(mean.value, math.inf if mean.bound is None else mean.bound) for mean in means]

    def _coherence(self, tried: Sequence[Intervention]) -> list[OnDev]:
        if self.judges is None:
            raise CompareError("coherence is rated by judges, of which there are none here.")
        asked, lm, behavior = evaluation_of(self.plan.spec, FreeAnswers), self.fitter.lm, self.fitter.behavior
        prompts = with_room(lm, self.plan.open_dev[behavior.name], tried, asked)
        written = free_answers(lm, [p.question for p in prompts], tried, asked.tokens, asked.thought_tokens)
        # Thoughts without an end are no answers.
        given = [(p, one.text) for each in written for p, one in zip(prompts, each, strict=True) if one.finished]
        rated = self.judges.coherence(behavior, [(prompt.question, text) for prompt, text in given])
        scores = {(p.id, text): score for (p, text), score in zip(given, rated, strict=True)}
        found = []
        for each in written:
            own = {p.id: scores.get((p.id, one.text)) for p, one in zip(prompts, each, strict=True) if one.finished}
            mean = mean_of(own, {prompt.id: prompt.template for prompt in prompts}, self.fitter.seed)
            if mean is None:
                raise CompareError("none of the answers on dev has a coherence.")
            found.append(OnDev(mean.value, -math.inf if mean.low is None else mean.low))
        return found


def dev_choices(
    fitter: Fitter, items: Sequence[Item], tried: Sequence[Intervention], orders: Sequence[Order]
) -> ItemChoices:
    """What interventions make of dev questions."""
    asked = questions(items, orders)
    return item_choices(asked, choice_logps(fitter.lm, [question.shown for question in asked], tried))


def worst(quantity: str, bounds: Sequence[float]) -> float:
    """The bound that is hardest to keep within a limit."""
    return min(bounds) if quantity in FALLING else max(bounds)


def excess(quantity: str, bound: float, limit: float) -> float:
    """How far a bound lies beyond its limit; at most 0 where it keeps to it."""
    return limit - bound if quantity in FALLING else bound - limit


def without_open_dev(spec: Specification, behavior: Behavior) -> tuple[Behavior, Sequence[OpenPrompt]]:
    """A behavior without the half of its open-ended prompts that is held out to choose by, and that half.

    Raises:
        CompareError: free answers aren't asked for, or a half is too small for an interval.
    """
    option = f"--select {spec.select}" if spec.match is None else f"--match {spec.match}"
    if spec.open_ended is None:
        raise CompareError(f"{option} needs free answers and a judge that rates them: add --judge rules, or another.")
    prompts = behavior.open_ended
    held = {prompt.question for prompt in draw(prompts, max(1, len(prompts) // 2), spec.seed)}
    dev, test = (tuple(p for p in prompts if (p.question in held) == part) for part in (True, False))
    if min(len(dev), len(test)) < stats.FEWEST:
        raise CompareError(
            f"{option} holds half of the open-ended prompts out to choose by, and '{behavior.name}' has "
            f"{len(prompts)}: give it at least {2 * stats.FEWEST} different ones, or leave coherence out."
        )
    return replace(behavior, open_ended=test), dev
