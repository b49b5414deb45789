"""Open-ended answers: every cell answers the behavior's prompts freely; what they are like, and what judges say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from comparisons.dataset.folders import OPEN_ENDED_PATH
from comparisons.dataset.items import OpenPrompt
from comparisons.engine.completions import completion_logps
from comparisons.engine.free_answers import FreeAnswer, free_answers
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, row_of
from comparisons.evaluation.measures import Row, clusters, interval
from comparisons.evaluation.pooling import pooled
from comparisons.evaluation.tally import Tally, branches_of
from comparisons.evaluations.generated import without_room
from comparisons.experiment.specification import Cell, Plan, Specification
from comparisons.intervention import Intervention
from comparisons.judges.calibration import agreement
from comparisons.judges.free_answers import THOUGHT_TOKENS, TOKENS
from comparisons.judges.interface import Verdict
from comparisons.judges.judge_set import JudgeSet, is_finished
from comparisons.judges.pairwise import NAME as PAIRWISE
from comparisons.judges.pairwise import win_rate
from comparisons.judges.registry import check_judge
from comparisons.model.lm import LM
from comparisons.results.answers import UNSCORED
from comparisons.results.folder import RunFolder
from comparisons.results.schema import Contrast
from comparisons.util.errors import CompareError
from comparisons.util.table import Section

OPEN_ENDED = "open_ended"
"""The evaluation's name in result rows."""

JUDGING = "judging"
"""In a cell's info: judge -> what it took in tokens and dollars."""

THOUGHT = "thought_tokens"
"""In rows: of an answer's thought; in the summary their mean."""

GRAM = 4
"""Words of the runs whose repetition is counted."""


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
        rows = open_rows(asking.lm, prompts, [c.intervention for c in cells], fields, self.tokens, self.thought_tokens)
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
        shift = None if cell.numbers["broken"] else cell.numbers.get("shift")
        spent = cell.own.info.get(JUDGING) or {}
        return row_numbers(open_numbers(cell.own.rows, baseline, shift, spent, cell.seed))


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
    tokens: int,
    thought_tokens: int = THOUGHT_TOKENS,
) -> list[list[dict[str, Any]]]:
    """The result rows of cells that share a prompt's cache, answers drawn greedily; no judge has seen them yet.

    Args:
        lm: the model.
        prompts: to answer; one that leaves no room for an answer is left out.
        interventions: of the cells, with one prefix.
        fields: for each cell what is the same in all of its rows.
        tokens: of an answer, at most.
        thought_tokens: of the thought before it, where the model is to think, at most.

    Raises:
        CompareError: more than 2% of the prompts leave no room for an answer.
    """
    shown = [(prompt.id, prompt.question) for prompt in prompts]
    room = tokens + (thought_tokens if lm.prompts.thinking else 0)
    left_out = without_room(lm, shown, interventions[0], room, "--open-ended", free=True)
    kept = [prompt for prompt in prompts if prompt.id not in left_out]
    answers = free_answers(lm, [prompt.question for prompt in kept], interventions, tokens, thought_tokens)
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
    judged: dict[str, Any] = {"scores": {}, "verdicts": {}}
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
    judges = dict.fromkeys(judge for answer in answers for judge in answer["scores"])
    if len(judges) < 2:
        return []
    return [asdict(each) for each in agreement({name: [a["scores"].get(name) for a in answers] for name in judges})]


def repetition(text: str) -> float:
    """The share of an answer's runs of four words that stood in it before, 0 to 1.

    It is seq-rep-4 of Welleck et al. 2020, "Neural text generation with unlikelihood training", section 6; 0 for
    fewer than four words.
    """
    words = text.split()
    runs = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def open_numbers(
    rows: Sequence[Row],
    baseline: Sequence[Row] | None,
    shift: float | None,
    spent: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> dict[str, Any] | None:
    """What a cell's free answers are like and how they were judged; None where it wrote none.

    Args:
        rows: the cell's result rows of every evaluation.
        baseline: the baseline's; None for the baseline itself, which has no change.
        shift: the cell's shift on the choices, where it means something.
        spent: judge -> {"tokens_in", "tokens_out", "dollars"}.
        seed: of the intervals.

    Returns:
        "n_answers"; "length": mean words; "repetition": mean share of repeated runs of four words; "fluency": mean
        log-likelihood a token under the unchanged model, in nats, of answers that aren't empty; "length_change",
        "repetition_change", "fluency_change": against the baseline, paired by prompt, each with its interval under
        "…_ci"; where the model was to think, the same of "thought_tokens", its mean number, and "unfinished": how many
        thoughts came to no end, whose answers, being none, count nowhere else; "judges": judge -> {"n_scored",
        "no_sign", "unparsed", "refused", "failed", "unasked": counts; "score",
        "score_ci": 0 to 10, over the scored ones; "shift", "shift_ci": against the baseline, paired, where both have
        scores; "agrees": whether it has the sign of the shift on the choices; "wins": of a judge that compares {"rate",
        "ci", "won", "tied", "lost"}; and what was spent}. None for what has no number.
    """
    mine, before = _answers(rows), _answers(baseline or ())
    if not mine:
        return None
    found: dict[str, Any] = {"n_answers": len(mine)}
    for name, measure in _MEASURES.items():
        if name == THOUGHT and not any(THOUGHT in row for row in mine.values()):
            continue
        values, plain = ({item: measure(row) for item, row in side.items()} for side in (mine, before))
        mean, _, change, change_ci = _compared(values, plain, mine, seed)
        found |= {name: mean, f"{name}_change": change, f"{name}_change_ci": change_ci}
    if THOUGHT in found:
        found["unfinished"] = sum(not is_finished(row) for row in mine.values())
    found["judges"] = {}
    for judge in dict.fromkeys(judge for row in mine.values() for judge in row["scores"]):
        found["judges"][judge] = _judged(judge, mine, before, shift, seed) | dict(spent.get(judge) or {})
        if judge.partition(":")[0] == PAIRWISE and baseline is not None:
            found["judges"][judge]["wins"] = _wins(judge, list(mine.values()), seed)
    return found


def row_numbers(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a summary row that say what free answers are like."""
    if found is None:
        return {"open_ended": None}
    rated = [judged["coherence"] for judged in found["judges"].values() if judged.get("coherence") is not None]
    return {"open_ended": found, "fluency": found["fluency"], "coherence": next(iter(rated), None)}


def _answers(rows: Sequence[Row]) -> dict[str, Row]:
    return {row["item"]: row for row in rows if row["evaluation"] == OPEN_ENDED}


_MEASURES: dict[str, Any] = {
    "length": lambda row: len(row["answer"].split()) if is_finished(row) else None,
    "repetition": lambda row: repetition(row["answer"]) if is_finished(row) else None,
    "fluency": lambda row: row["fluency"],
    THOUGHT: lambda row: row.get(THOUGHT),
}


def _judged(
    judge: str, mine: Mapping[str, Row], before: Mapping[str, Row], shift: float | None, seed: int
) -> dict[str, Any]:
    values, plain = ({item: row["scores"].get(judge) for item, row in side.items()} for side in (mine, before))
    statuses = [row["verdicts"][judge]["status"] for row in mine.values()]
    score, score_ci, change, change_ci = _compared(values, plain, mine, seed)
    return {
        "n_scored": sum(value is not None for value in values.values()),
        **{status: statuses.count(status) for status in UNSCORED},
        "score": score,
        "score_ci": score_ci,
        "shift": change,
        "shift_ci": change_ci,
        "agrees": None if not (change and shift) else (change > 0) == (shift > 0),
    }


def _wins(judge: str, rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """How often a cell's answer won over the baseline's."""
    found = win_rate([Verdict(row["scores"].get(judge)) for row in rows], [row["template"] for row in rows], seed)
    bounds = [found.interval.low, found.interval.high] if found.interval else None
    return {"rate": found.rate, "ci": bounds, "won": found.won, "tied": found.tied, "lost": found.lost}


Numbers = Mapping[str, float | None]


def _compared(
    values: Numbers, plain: Numbers, rows: Mapping[str, Row], seed: int
) -> tuple[float | None, list[float] | None, float | None, list[float] | None]:
    """Mean, its interval, mean difference from the plain values over what both have, and its interval."""
    templates = {item: row["template"] for item, row in rows.items()}
    own = {item: value for item, value in values.items() if value is not None}
    both = {item: value - other for item, value in own.items() if (other := plain.get(item)) is not None}
    return (*_mean(own, templates, seed), *_mean(both, templates, seed))


def _mean(
    values: Mapping[str, float], templates: Mapping[str, str | None], seed: int
) -> tuple[float | None, list[float] | None]:
    if not values:
        return None, None
    numbers = np.array(list(values.values()), dtype=float)
    return float(numbers.mean()), interval(numbers, clusters(list(values), templates), seed)
