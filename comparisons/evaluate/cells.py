"""Evaluates the cells of one behavior that share a prompt's cache: everything that a run asks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comparisons.engine.choices import choice_logps
from comparisons.evaluate.generated import generated_rows
from comparisons.evaluate.harness import HarnessSet, harness_rows
from comparisons.evaluate.measures import Row
from comparisons.evaluate.openended import OPEN_ENDED, open_rows
from comparisons.evaluate.questions import SIDE, questions, result_rows
from comparisons.evaluate.robustness import Repeats, Subject
from comparisons.items import Item
from comparisons.judges.panel import Panel
from comparisons.running.fitting import Bench
from comparisons.running.specification import Plan

JUDGING = "judging"
"""In a cell's info: judge -> what it took in tokens and dollars."""


@dataclass
class Found:
    """What was found of one cell.

    Attributes:
        rows: its result rows, evaluation after evaluation.
        info: what the journal keeps beside them.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


class Evaluator:
    """Asks what the plan says.

    Args:
        plan: the run.
        bench: where the behavior's methods were fitted.
        panel: judges of open-ended answers; None where none are asked for.
        baseline: reads the baseline's result rows; None where it has none.
    """

    def __init__(
        self, plan: Plan, bench: Bench, panel: Panel | None, baseline: Callable[[], Sequence[Row] | None]
    ) -> None:
        self.plan, self.bench, self.panel, self.baseline = plan, bench, panel, baseline

    def measure(self, subjects: Sequence[Subject]) -> list[Found]:
        """One a subject; they share a prompt's cache."""
        found = [Found() for _ in subjects]
        for measure in (self._choices, self._tasks, self._generated, self._robustness, self._open_ended):
            for mine, more in zip(found, measure(subjects), strict=False):
                mine.rows += more.rows
                mine.info |= more.info
        return found

    def _choices(self, subjects: Sequence[Subject]) -> list[Found]:
        found = [Found() for _ in subjects]
        for evaluation, items in self._sets().items():
            asked = questions(items, self.plan.orders)
            logps = choice_logps(self.bench.lm, [q.shown for q in asked], [s.intervention for s in subjects])
            for i, subject in enumerate(subjects):
                found[i].rows += result_rows(asked, logps.logps[i], logps.too_long[i], evaluation, subject.fields)
        return found

    def _tasks(self, subjects: Sequence[Subject]) -> list[Found]:
        knowledge = self.plan.knowledge
        if not isinstance(knowledge, HarnessSet):
            return []
        interventions, fields = [s.intervention for s in subjects], [s.fields for s in subjects]
        return [Found(rows) for rows in harness_rows(self.bench.lm, knowledge, interventions, fields)]

    def _sets(self) -> dict[str, Sequence[Item]]:
        """The questions of each evaluation, by its name."""
        name = self.bench.behavior.name
        sets: dict[str, Sequence[Item]] = {"choices": self.plan.asked(name)}
        if self.plan.knowledge is not None and not isinstance(self.plan.knowledge, HarnessSet):
            sets["knowledge"] = self.plan.knowledge.items
        return sets | {f"{SIDE}{other}": items for other, items in self.plan.side.items() if other != name}

    def _generated(self, subjects: Sequence[Subject]) -> list[Found]:
        if not self.plan.spec.generated_choices:
            return []
        asked = questions(self.plan.asked(self.bench.behavior.name), self.plan.orders)
        interventions, fields = [s.intervention for s in subjects], [s.fields for s in subjects]
        return [Found(rows) for rows in generated_rows(self.bench.lm, asked, interventions, fields)]

    def _robustness(self, subjects: Sequence[Subject]) -> list[Found]:
        if not self.plan.spec.robustness:
            return []
        repeats = Repeats(self.bench, self.plan.asked(self.bench.behavior.name), self.plan.orders)
        return [Found(again.rows, dict(again.info)) for again in repeats.run(subjects)]

    def _open_ended(self, subjects: Sequence[Subject]) -> list[Found]:
        options = self.plan.spec.open_ended
        if options is None:
            return []
        prompts, fields = self.bench.behavior.open_ended, [s.fields for s in subjects]
        rows = open_rows(self.bench.lm, prompts, [s.intervention for s in subjects], fields, options.tokens)
        if self.panel is None:
            return [Found(own) for own in rows]
        scored = self.panel.scored(rows, self._references(subjects, rows))
        return [Found(own.rows, {JUDGING: own.spent}) for own in scored]

    def _references(self, subjects: Sequence[Subject], rows: Sequence[Sequence[Row]]) -> Mapping[str, str]:
        """The baseline's answers, by item: among these, or from before."""
        now = (own for subject, own in zip(subjects, rows, strict=True) if subject.fields["direction"] is None)
        known = next(now, None) or self.baseline() or ()
        return {row["item"]: row["answer"] for row in known if row["evaluation"] == OPEN_ENDED}
