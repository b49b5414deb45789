"""Evaluates the cells of one behavior that share a prompt's cache: everything that a run asks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from comparisons.dataset.items import Item
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.generated import generated_rows
from comparisons.evaluation.harness import HarnessSet, harness_rows
from comparisons.evaluation.measures import Row
from comparisons.evaluation.open_ended import OPEN_ENDED, open_rows
from comparisons.evaluation.questions import SIDE, questions, result_rows
from comparisons.evaluation.robustness import CellToAsk, Repeats
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Plan
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM

KNOWLEDGE = "knowledge"

JUDGING = "judging"
"""In a cell's info: judge -> what it took in tokens and dollars."""


@dataclass
class CellResult:
    """What was found of one cell.

    Attributes:
        rows: its result rows, evaluation after evaluation.
        info: what the journal keeps beside them.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


Answers = Callable[[], list[dict[str, Any]]]
"""Makes the result rows of what has been asked; raises CompareError where the answers are none."""

Common = Mapping[tuple[str, str], Answers]
"""By cell and evaluation, what has been asked before."""


def ask_in_common(plan: Plan, lm: LM, subjects: Sequence[CellToAsk]) -> dict[tuple[str, str], Answers]:
    """Asks cells that share a prompt's cache what those of every behavior are asked: knowledge, and side effects."""
    found: dict[tuple[str, str], Answers] = {}
    for evaluation, items in _common_sets(plan).items():
        mine = [subject for subject in subjects if evaluation != f"{SIDE}{subject.fields['behavior']}"]
        found |= _by_cell(mine, evaluation, _asked(plan, lm, evaluation, items, mine))
    if isinstance(plan.knowledge, HarnessSet):
        found |= _by_cell(subjects, KNOWLEDGE, _tasks(plan.knowledge, lm, subjects))
    return found


def _common_sets(plan: Plan) -> dict[str, Sequence[Item]]:
    """The questions that are not of a cell's own behavior, by the evaluation's name; tasks of the harness aside."""
    known = plan.knowledge
    sets: dict[str, Sequence[Item]] = {} if known is None or isinstance(known, HarnessSet) else {KNOWLEDGE: known.items}
    return sets | {f"{SIDE}{name}": items for name, items in plan.side.items()}


def _by_cell(
    subjects: Sequence[CellToAsk], evaluation: str, answers: Sequence[Answers]
) -> dict[tuple[str, str], Answers]:
    return {(s.fields["cell"], evaluation): own for s, own in zip(subjects, answers, strict=True)}


def _asked(plan: Plan, lm: LM, evaluation: str, items: Sequence[Item], subjects: Sequence[CellToAsk]) -> list[Answers]:
    asked = questions(items, plan.orders)
    found = choice_logps(lm, [q.shown for q in asked], [s.intervention for s in subjects])
    return [
        partial(result_rows, asked, logps, too_long, evaluation, subject.fields)
        for logps, too_long, subject in zip(found.logps, found.too_long, subjects, strict=True)
    ]


def _tasks(known: HarnessSet, lm: LM, subjects: Sequence[CellToAsk]) -> list[Answers]:
    rows = harness_rows(lm, known, [s.intervention for s in subjects], [s.fields for s in subjects])
    return [partial(list, own) for own in rows]


class Evaluator:
    """Asks what the plan says.

    Args:
        plan: the run.
        fitter: where the behavior's methods were fitted.
        judges: judges of open-ended answers; None where none are asked for.
        baseline: reads the baseline's result rows; None where it has none.
        common: what has been asked before.
    """

    def __init__(
        self,
        plan: Plan,
        fitter: Fitter,
        judges: JudgeSet | None,
        baseline: Callable[[], Sequence[Row] | None],
        common: Common | None = None,
    ) -> None:
        self.plan, self.fitter, self.judges, self.baseline = plan, fitter, judges, baseline
        self.common = common or {}

    def measure(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        """One a subject; they share a prompt's cache."""
        found = [CellResult() for _ in subjects]
        for measure in (self._choices, self._generated, self._robustness, self._open_ended):
            for mine, more in zip(found, measure(subjects), strict=False):
                mine.rows += more.rows
                mine.info |= more.info
        return found

    def _choices(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        name, known = self.fitter.behavior.name, self.plan.knowledge
        sets = {"choices": self.plan.asked(name), **_common_sets(self.plan)}
        sets.pop(f"{SIDE}{name}", None)
        ask = {e: partial(_asked, self.plan, self.fitter.lm, e, items) for e, items in sets.items()}
        if isinstance(known, HarnessSet):
            ask[KNOWLEDGE] = partial(_tasks, known, self.fitter.lm)
        found = [CellResult() for _ in subjects]
        for evaluation, each in ask.items():
            for mine, answers in zip(found, self._before(evaluation, subjects) or each(subjects), strict=True):
                mine.rows += answers()
        return found

    def _before(self, evaluation: str, subjects: Sequence[CellToAsk]) -> list[Answers] | None:
        """What was asked before, where it was asked of all of them."""
        found = [self.common.get((subject.fields["cell"], evaluation)) for subject in subjects]
        return [answers for answers in found if answers is not None] if None not in found else None

    def _generated(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        if not self.plan.spec.generated_choices:
            return []
        asked = questions(self.plan.asked(self.fitter.behavior.name), self.plan.orders)
        interventions, fields = [s.intervention for s in subjects], [s.fields for s in subjects]
        return [CellResult(rows) for rows in generated_rows(self.fitter.lm, asked, interventions, fields)]

    def _robustness(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        if not self.plan.spec.robustness:
            return []
        repeats = Repeats(self.fitter, self.plan.asked(self.fitter.behavior.name), self.plan.orders)
        return [CellResult(again.rows, dict(again.info)) for again in repeats.run(subjects)]

    def _open_ended(self, subjects: Sequence[CellToAsk]) -> list[CellResult]:
        options = self.plan.spec.open_ended
        if options is None:
            return []
        prompts, fields = self.fitter.behavior.open_ended, [s.fields for s in subjects]
        rows = open_rows(self.fitter.lm, prompts, [s.intervention for s in subjects], fields, options.tokens)
        if self.judges is None:
            return [CellResult(own) for own in rows]
        scored = self.judges.scored(rows, self._references(subjects, rows))
        return [CellResult(own.rows, {JUDGING: own.spent}) for own in scored]

    def _references(self, subjects: Sequence[CellToAsk], rows: Sequence[Sequence[Row]]) -> Mapping[str, str]:
        """The baseline's answers, by item: among these, or from before."""
        now = (own for subject, own in zip(subjects, rows, strict=True) if subject.fields["direction"] is None)
        known = next(now, None) or self.baseline() or ()
        return {row["item"]: row["answer"] for row in known if row["evaluation"] == OPEN_ENDED}
