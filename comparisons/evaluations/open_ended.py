"""Open-ended answers: every cell answers the behavior's prompts freely; what they are like, and what judges say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from comparisons.dataset.items import OpenPrompt
from comparisons.dataset.splits import OPEN_ENDED_PATH
from comparisons.engine.completions import completion_logps
from comparisons.engine.free_answers import FreeAnswer, free_answers
from comparisons.engine.plan import group_by_prefix
from comparisons.evaluation.free_answers import OPEN_ENDED, coherence_test, open_numbers, row_numbers
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, row_of
from comparisons.evaluation.measures import Row
from comparisons.evaluation.pooling import pooled
from comparisons.evaluation.questions import CHOICES
from comparisons.evaluation.tally import Tally, branches_of
from comparisons.evaluations.generated import without_room
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Intervention
from comparisons.judges.calibration import agreement
from comparisons.judges.free_answers import THOUGHT_TOKENS, TOKENS
from comparisons.judges.judge_set import JudgeSet, is_finished
from comparisons.judges.registry import check_judge
from comparisons.model.lm import LM
from comparisons.results.answers import is_further
from comparisons.results.folder import RunFolder
from comparisons.results.schema import Contrast
from comparisons.util.errors import CompareError
from comparisons.util.table import Section

JUDGING = "judging"
"""In a cell's info: judge -> what it took in tokens and dollars."""


@dataclass(frozen=True)
class FreeAnswers(Evaluation):
    """Free answers to the behavior's open-ended prompts, scored by judges.

    Attributes:
        tokens: of an answer, at most.
        thought_tokens: of the thought before it, where the model is to think, at most.
    """

    tokens: int = TOKENS
    thought_tokens: int = THOUGHT_TOKENS

    place = 6

    @classmethod
    def of(cls, spec: Specification) -> FreeAnswers | None:
        answers = spec.open_ended
        return None if answers is None else cls(answers.tokens, answers.thought_tokens)

    def check(self, plan: Plan) -> None:
        for judge in plan.spec.open_ended.judges if plan.spec.open_ended else ():
            check_judge(judge)
        if self.tokens < 1:
            raise CompareError(f"--tokens must be at least 1, not {self.tokens}.")
        if self.thought_tokens < 1:
            raise CompareError(f"--thought-tokens must be at least 1, not {self.thought_tokens}.")
        for name, behavior in plan.behaviors.items():
            if not behavior.open_ended:
                raise CompareError(
                    f"the behavior '{name}' has no open-ended prompts: put them beside its data as "
                    f"{OPEN_ENDED_PATH.format(name)}, or leave out --open-ended."
                )

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        prompts, fields = asking.plan.behaviors[cells[0].fields["behavior"]].open_ended, [c.fields for c in cells]
        rows = open_rows(asking.lm, prompts, [c.intervention for c in cells], fields, self)
        results = [CellResult(each) for each in rows]
        if asking.judges is None:
            return results
        plain = next((r.rows for r, cell in zip(results, cells, strict=True) if cell.fields["direction"] is None), None)
        return judged(asking.judges, results, plain or asking.baseline() or ())

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        for prefix in tally.groups(cells):
            branches, asked = branches_of(cells, prefix), plan.behaviors[cells[0].behavior].open_ended
            writer = tally.lm.prompts
            texts = [tuple(tally.lm.tokenize(writer.free_text(prompt.question))) for prompt in asked]
            tally.write(texts, branches, self.tokens + (self.thought_tokens if writer.thinking else 0))
            tally.add(texts, branches * self.tokens)  # the answers' likelihood under the unchanged model

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any]:
        baseline = None if cell.is_baseline else cell.baseline.rows
        shift = None if cell.is_baseline or cell.numbers["broken"] else cell.first_shift(CHOICES)
        spent = cell.own.info.get(JUDGING) or {}
        found = row_numbers(open_numbers(cell.own.rows, baseline, shift, spent, cell.seed))
        limit = cell.plan.spec.limits.get("coherence")
        if limit is not None and (test := coherence_test(cell.own.rows, limit, cell.seed)):
            found["measured"] = {"coherence": test}
        return found


def with_room(
    lm: LM, prompts: Sequence[OpenPrompt], interventions: Sequence[Intervention], asked: FreeAnswers
) -> list[OpenPrompt]:
    """The prompts that leave room for an answer, whichever of the interventions stands before it.

    Raises:
        CompareError: more than 2% of them leave none.
    """
    shown, thought = [(prompt.id, prompt.question) for prompt in prompts], asked.thought_tokens
    room = asked.tokens + (thought if lm.prompts.thinking else 0)
    heads = [group.head for group in group_by_prefix(interventions)]
    left_out = {id_ for head in heads for id_ in without_room(lm, shown, head, room, "--open-ended", free=True)}
    return [prompt for prompt in prompts if prompt.id not in left_out]


def judged(judges: JudgeSet, results: Sequence[CellResult], baseline: Sequence[Row]) -> list[CellResult]:
    """The results of cells of one behavior, with their free answers scored.

    Args:
        judges: who scores.
        results: with rows of any evaluation.
        baseline: the baseline's rows, whose free answers a judge may compare with.
    """
    plain = (row for row in baseline if row["evaluation"] == OPEN_ENDED and is_finished(row))
    references = {row["item"]: row["answer"] for row in plain}
    free = [[row for row in result.rows if row["evaluation"] == OPEN_ENDED] for result in results]
    others = [[row for row in result.rows if row["evaluation"] != OPEN_ENDED] for result in results]
    return [
        CellResult([*rest, *scored.rows], {**result.info, JUDGING: scored.spent})
        for result, rest, scored in zip(results, others, judges.scored(free, references), strict=True)
    ]


def open_rows(
    lm: LM,
    prompts: Sequence[OpenPrompt],
    interventions: Sequence[Intervention],
    fields: Sequence[Mapping[str, Any]],
    asked: FreeAnswers,
) -> list[list[dict[str, Any]]]:
    """The result rows of cells that share a prompt's cache, answers drawn greedily; no judge has seen them yet.

    Args:
        lm: the model.
        prompts: to answer; one that leaves no room for an answer is left out.
        interventions: of the cells, with one prefix.
        fields: for each cell what is the same in all of its rows.
        asked: how long answers may get.

    Raises:
        CompareError: more than 2% of the prompts leave no room for an answer.
    """
    kept = with_room(lm, prompts, interventions, asked)
    questions = [prompt.question for prompt in kept]
    answers = free_answers(lm, questions, interventions, asked.tokens, asked.thought_tokens)
    fluent = _fluency(lm, kept, [[answer.text for answer in each] for each in answers])
    return [
        [_row(own, prompt, one, fluent.get((prompt.id, one.text))) for prompt, one in zip(kept, given, strict=True)]
        for own, given in zip(fields, answers, strict=True)
    ]


def _fluency(
    lm: LM, prompts: Sequence[OpenPrompt], answers: Sequence[Sequence[str]]
) -> dict[tuple[str, str], float | None]:
    """Mean log-likelihood a token of each answer under the unchanged model, in nats; empty answers have none."""
    texts = {p.id: sorted({own[i] for own in answers} - {""}) for i, p in enumerate(prompts)}
    asked = [prompt for prompt in prompts if texts[prompt.id]]
    if not asked:
        return {}
    questions, completions = [p.question for p in asked], [texts[p.id] for p in asked]
    found = completion_logps(lm, questions, completions, [Intervention()])[0]
    return {
        (prompt.id, text): float(np.mean(logps))
        for prompt, own in zip(asked, found, strict=True)
        for text, logps in zip(texts[prompt.id], own, strict=True)
    }


def _row(cell: Mapping[str, Any], prompt: OpenPrompt, answer: FreeAnswer, fluency: float | None) -> dict[str, Any]:
    rounded = None if fluency is None else round(fluency, 7)
    judged: dict[str, Any] = {"scores": {}, "coherence": {}, "verdicts": {}}
    asked: dict[str, Any] = {"prompt": prompt.question, "answer": answer.text, "fluency": rounded}
    if answer.thought is not None:
        thought = {"thought": answer.thought, "thought_tokens": answer.thought_tokens}
        asked |= {**thought, "thought_finished": answer.finished}
    return row_of(cell, OPEN_ENDED, prompt.id, "given", prompt.template, **asked, **judged)


def summary_of(
    rows: Sequence[Any],
    folder: RunFolder,
    known: Mapping[str, Any],
    sections: Mapping[str, Section],
    contrasts: Sequence[Contrast],
) -> dict[str, Any]:
    """What summary.json holds: the rows, the contrasts, both pooled, and "judges" where free answers were judged.

    Args:
        rows: the summary's, as dataclasses.
        folder: the run's, with its result rows.
        known: judge -> how it does on known answers.
        sections: what plugins say in the report.
        contrasts: of the cells.
    """
    found: dict[str, Any] = {"rows": [asdict(row) for row in rows], "contrasts": list(contrasts)}
    if over_behaviors := pooled(rows, contrasts):
        found["pooled"] = over_behaviors
    if sections:
        found["sections"] = {name: asdict(section) for name, section in sections.items()}
    cells = [row.cell for row in rows if row.open_ended and folder.done(row.cell)]
    answers = [one for cell in cells for one in folder.rows(cell) if one["evaluation"] == OPEN_ENDED]
    if any(answer["scores"] for answer in answers):
        found["judges"] = {"known": dict(known), "agreement": _agreements(answers)}
    return found


def _agreements(answers: Sequence[Row]) -> list[dict[str, Any]]:
    judges = dict.fromkeys(judge for answer in answers for judge in answer["scores"] if not is_further(judge))
    if len(judges) < 2:
        return []
    return [asdict(each) for each in agreement({name: [a["scores"].get(name) for a in answers] for name in judges})]
