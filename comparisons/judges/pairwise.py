"""Two-alternative forced choice against the baseline's answer, in both orders, so that no place is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from comparisons.judges.interface import MOST, AnswerToJudge, Comparing, Setup, Verdict
from comparisons.judges.registry import make_judge
from comparisons.util.errors import CompareError

NAME = "pairwise"


class Pairwise:
    """Scores 10 where the answer wins over the baseline's in both orders, 5 for a tie or where the orders disagree."""

    def __init__(self, judge: Comparing) -> None:
        self.judge = judge

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """A tenth of the mean score is the win rate, ties counted as halves; no reference, no score."""
        known = [i for i, each in enumerate(asked) if each.reference not in (None, each.answer)]
        forward = [asked[i] for i in known]
        backward = [replace(each, answer=each.reference or "", reference=each.answer) for each in forward]
        verdicts = self.judge.compare([*forward, *backward])
        found = [_unasked(each) for each in asked]
        for place, i in enumerate(known):
            found[i] = _joined(verdicts[place], verdicts[len(known) + place])
        return found


def _unasked(asked: AnswerToJudge) -> Verdict:
    if asked.reference is None:
        return Verdict(None, "there is no answer of the baseline to compare with", status="unasked")
    return Verdict(MOST / 2, "the baseline's own answer")


def _joined(first: Verdict, second: Verdict) -> Verdict:
    tokens = (first.tokens_in + second.tokens_in, first.tokens_out + second.tokens_out)
    raw, reason = f"{first.raw}\n{second.raw}", f"first: {first.reason} | second: {second.reason}"
    if first.score is None or second.score is None:
        status = first.status if first.score is None else second.status
        return Verdict(None, reason, raw, status, *tokens)
    return Verdict((first.score + MOST - second.score) / 2, reason, raw, "scored", *tokens)


def make(argument: str | None, setup: Setup) -> Pairwise:
    """`pairwise:JUDGE`."""
    if argument is None:
        raise CompareError("the judge 'pairwise' needs another: write pairwise:rules or pairwise:openai:MODEL.")
    judge = make_judge(argument, setup)
    if not hasattr(judge, "compare"):
        raise CompareError(f"the judge '{argument}' can't compare two answers: take rules, local or openai:MODEL.")
    return Pairwise(cast(Comparing, judge))
