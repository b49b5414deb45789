"""The judges of a run: every answer goes to each of them, and what each found stands in the answer's row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comparisons.dataset.behaviors import Behavior
from comparisons.judges.calibration import CalibrationItem, accuracy_of, calibration_items
from comparisons.judges.interface import MOST, AnswerToJudge, Coherent, Judge, Price, Setup, Verdict
from comparisons.judges.pairwise import NAME as PAIRWISE
from comparisons.judges.registry import make_judge
from comparisons.results.answers import by_rubric
from comparisons.util.errors import CompareError, described

if TYPE_CHECKING:
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.model.lm import LM
    from comparisons.model.source import ModelSource

Row = Mapping[str, Any]

Question = Callable[[Sequence[AnswerToJudge]], Sequence[Verdict]]
"""What a judge is asked of answers: its `score`, or its `coherence`."""

SCORES, COHERENCE = "scores", "coherence"
"""In rows of open-ended answers: judge -> score."""


@dataclass(frozen=True)
class Scored:
    """A cell's answers with their scores.

    Attributes:
        rows: its result rows of open-ended answers; `scores`, `coherence` and `verdicts` hold each judge's, by its
            name.
        spent: judge -> {"tokens_in", "tokens_out", "dollars"}; an answer that several cells gave is paid for by the
            first.
    """

    rows: list[dict[str, Any]]
    spent: dict[str, dict[str, Any]]


def is_finished(row: Row) -> bool:
    """Whether a model came to an answer: a thought that goes on to the last token has none."""
    return row.get("thought_finished") is not False


NO_ANSWER = Verdict(None, "the thought came to no end", status="unasked")


class JudgeSet:
    """The judges of a run.

    Args:
        judges: by the name under which each was asked for.
        behaviors: whose answers are judged, by name.
        price: of a server's model; None where nobody has said it.
    """

    def __init__(
        self, judges: Mapping[str, Judge], behaviors: Mapping[str, Behavior], price: Price | None = None
    ) -> None:
        self.judges, self.behaviors, self.price = judges, behaviors, price

    def scored(self, cells: Sequence[Sequence[Row]], references: Mapping[str, str]) -> list[Scored]:
        """Scores the answers of several cells of one behavior.

        A judge that fails leaves its answers without a score, and with the reason; it never takes the other numbers
        of a cell with it.

        Args:
            cells: rows of open-ended answers.
            references: item -> the baseline's answer.
        """
        asked = [[self._asked(row, references) for row in rows] for rows in cells]
        # Many cells answer a prompt in the same words.
        unique = list(
            dict.fromkeys(
                each
                for rows, answers in zip(cells, asked, strict=True)
                for row, each in zip(rows, answers, strict=True)
                if is_finished(row)
            )
        )
        results = [Scored([dict(row) for row in rows], {}) for rows in cells]
        for name, judge in self.judges.items():
            for field, question in _questions(judge).items():
                verdicts = dict(zip(unique, _verdicts(question, unique), strict=True))
                for cell, answers in zip(results, asked, strict=True):
                    self._record(cell, answers, verdicts, name, field)
            for further, text in self._rubrics(judge, unique).items():
                given = [replace(each, rubric=text) for each in unique]
                verdicts = dict(zip(unique, _verdicts(judge.score, given), strict=True))
                for cell, answers in zip(results, asked, strict=True):
                    self._record(cell, answers, verdicts, by_rubric(name, further), SCORES)
        return results

    def _rubrics(self, judge: Judge, asked: Sequence[AnswerToJudge]) -> Mapping[str, str]:
        """The further rubrics of the answers' behavior, by name; none of a judge that goes by no rubric."""
        return self.behaviors[asked[0].behavior].rubrics if asked and getattr(judge, "reads_rubric", False) else {}

    def _record(
        self,
        cell: Scored,
        asked: Sequence[AnswerToJudge],
        verdicts: dict[AnswerToJudge, Verdict],
        name: str,
        field: str,
    ) -> None:
        """Puts a judge's scores into the `field` of a cell's rows, and adds what they took."""
        spent = cell.spent.setdefault(name, {"tokens_in": 0, "tokens_out": 0})
        for row, each in zip(cell.rows, asked, strict=True):
            verdict = verdicts[each] if is_finished(row) else NO_ANSWER
            kept: dict[str, Any] = {"status": verdict.status, "reason": verdict.reason, "raw": verdict.raw}
            if field == COHERENCE:
                kept = {**row["verdicts"][name], COHERENCE: kept}
            row[field] = {**row.get(field, {}), name: verdict.score}
            row["verdicts"] = {**row["verdicts"], name: kept}
            spent["tokens_in"] += verdict.tokens_in
            spent["tokens_out"] += verdict.tokens_out
            if verdict is not NO_ANSWER:
                verdicts[each] = replace(verdict, tokens_in=0, tokens_out=0)
        paid = spent["tokens_in"], spent["tokens_out"]
        spent["dollars"] = self.price.of(*paid) if self.price and any(paid) else None

    def _rating(self) -> tuple[str, Question]:
        """The first judge that rates coherence, and how it is asked."""
        for name, judge in self.judges.items():
            if isinstance(judge, Coherent):
                return name, judge.coherence
        raise CompareError(f"no judge of this run rates coherence ({', '.join(self.judges)}): add rules to --judge.")

    def check(self, rating: bool = False) -> None:
        """Asks each judge about one answer, so that what is wrong with it is known before a run.

        Args:
            rating: whether one must rate coherence.

        Raises:
            CompareError: a server turns the key or the model away, or can't be reached; or a judge can't judge at all.
        """
        if rating:
            self._rating()
        items = [item for behavior in self.behaviors.values() for item in calibration_items(behavior)[:1]]
        for name, judge in self.judges.items():
            for verdict in _verdicts(judge.score, [item.answer for item in items[:1]]):
                if verdict.status == "failed":
                    raise CompareError(f"the judge '{name}' can't be asked: {verdict.reason}")

    def coherence(self, behavior: Behavior, answers: Sequence[tuple[str, str]]) -> list[float | None]:
        """How coherent the first judge that rates it finds answers to questions; each different one is asked once.

        Args:
            behavior: theirs.
            answers: question and answer of each.

        Raises:
            CompareError: no judge rates it, or the one that does could not be asked about every answer.
        """
        name, question = self._rating()
        asked = [AnswerToJudge(behavior.name, rubric(behavior), *each) for each in answers]
        unique = list(dict.fromkeys(asked))
        verdicts = dict(zip(unique, _verdicts(question, unique), strict=True))
        for verdict in verdicts.values():
            if verdict.status in ("failed", "unasked"):
                raise CompareError(f"the judge '{name}' can't be asked on dev: {verdict.reason or verdict.status}")
        return [verdicts[each].score for each in asked]

    def calibration(self) -> dict[str, dict[str, Any]]:
        """How each judge does on answers whose score is known: judge -> see `accuracy_of`; {} where there are none.

        "behaviors" has the same of each behavior that has known answers: a judge may know one and not another. A judge
        that compares is not among them: known answers have none to be compared with.

        Raises:
            CompareError: a server turns the key or the model away.
        """
        items = [item for behavior in self.behaviors.values() for item in calibration_items(behavior)]
        asked = {name: judge for name, judge in self.judges.items() if name.partition(":")[0] != PAIRWISE}
        return {name: _calibrated(judge, items) for name, judge in asked.items()} if items else {}

    def _asked(self, row: Row, references: Mapping[str, str]) -> AnswerToJudge:
        behavior = self.behaviors[row["behavior"]]
        return AnswerToJudge(behavior.name, rubric(behavior), row["prompt"], row["answer"], references.get(row["item"]))


def make_judge_set(
    options: OpenEnded,
    behaviors: Mapping[str, Behavior],
    source: ModelSource,
    lm: LM | None,
    loading: Mapping[str, Any] | None = None,
) -> JudgeSet:
    """The judges that the options name.

    Args:
        options: their names, address, price and budget.
        behaviors: whose answers they judge.
        source: how a local judge is loaded, under its own name.
        lm: the run's model; None loads it when a judge needs it.
        loading: fields of the source that are a local judge's own.

    Raises:
        CompareError: a judge can't be made, or can't judge these behaviors.
    """

    def load(name: str | None) -> LM:
        from comparisons.model.loading import load as load_model

        if name is None:
            return lm or load_model(replace(source, **loading or {}))
        # Its own prompt format and blocks; code that comes with it is not what the user has trusted.
        own = type(source)(name, device=source.device, dtype=source.dtype, quantize=source.quantize)
        return load_model(replace(own, **loading or {}))

    price = Price(*options.price) if options.price else None
    setup = Setup(behaviors, load, url=options.url, price=price, budget=options.budget)
    return JudgeSet({name: make_judge(name, setup) for name in options.judges}, behaviors, price)


def rubric(behavior: Behavior) -> str:
    """What judges that read go by: the behavior's own rubric, or its description."""
    if behavior.rubric:
        return behavior.rubric
    return f"How much does the answer show {behavior.description or behavior.name}? 0 is not at all, 10 wholly."


def _calibrated(judge: Judge, items: Sequence[CalibrationItem]) -> dict[str, Any]:
    verdicts = judge.score([item.answer for item in items])
    by_behavior: dict[str, list[tuple[CalibrationItem, Verdict]]] = {}
    for item, verdict in zip(items, verdicts, strict=True):
        by_behavior.setdefault(item.answer.behavior, []).append((item, verdict))
    behaviors = {name: accuracy_of(*zip(*pairs, strict=True)) for name, pairs in by_behavior.items()}
    return {**accuracy_of(items, verdicts), "behaviors": behaviors}


def _questions(judge: Judge) -> dict[str, Question]:
    """What a judge is asked, the score first, by where the answers' rows hold it."""
    second: dict[str, Question] = {COHERENCE: judge.coherence} if isinstance(judge, Coherent) else {}
    return {SCORES: judge.score, **second}


def _verdicts(question: Question, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
    """One sound verdict an answer, whatever the judge does."""
    try:
        verdicts = question(asked)
        if len(verdicts) != len(asked):
            raise CompareError(f"the judge gave {len(verdicts)} verdicts on {len(asked)} answers.")
    except Exception as error:  # a plugin's own code, a server that turns the key away
        return [Verdict(None, described(error), status="failed")] * len(asked)
    return [_checked(verdict) for verdict in verdicts]


def _checked(verdict: Verdict) -> Verdict:
    score = verdict.score
    if score is None or (math.isfinite(score) and 0 <= score <= MOST):
        return verdict
    return replace(verdict, score=None, status="unparsed", reason=f"the score {score!r} is not from 0 to 10")
