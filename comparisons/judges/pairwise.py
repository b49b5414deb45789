"""Forced choice against the baseline's answer, in both orders, so that no place is preferred; and the win rate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from comparisons.judges.interface import MOST, AnswerToJudge, Comparing, Setup, Verdict
from comparisons.judges.registry import make_judge
from comparisons.stats.intervals import Interval, bca_interval, wilson
from comparisons.util.errors import CompareError

NAME = "pairwise"


@dataclass(frozen=True)
class WinRate:
    """Verdicts of `pairwise:JUDGE`, counted.

    Attributes:
        rate: the mean of a tenth of the scores: wins, and ties as halves; None where nothing is scored.
        interval: 95%; None where nothing, or a single cluster, is scored.
        won: verdicts above 5.
        tied: verdicts of 5, orders that disagree among them.
        lost: verdicts below 5.
        unscored: verdicts without a score, which count nowhere else.
    """

    rate: float | None
    interval: Interval | None
    won: int
    tied: int
    lost: int
    unscored: int


class Pairwise:
    """Scores 10 where the answer wins over the baseline's in both orders, 5 for a tie or where the orders disagree."""

    def __init__(self, judge: Comparing) -> None:
        self.judge = judge

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """A tenth of the mean score is the win rate, ties counted as halves; no reference, no score."""
        compared = [i for i, each in enumerate(asked) if each.reference not in (None, each.answer)]
        forward = [asked[i] for i in compared]
        backward = [replace(each, answer=each.reference or "", reference=each.answer) for each in forward]
        verdicts = self.judge.compare([*forward, *backward])
        results = [_unasked(each) for each in asked]
        for place, i in enumerate(compared):
            results[i] = _joined(verdicts[place], verdicts[len(compared) + place])
        return results


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


def win_rate(verdicts: Sequence[Verdict], clusters: Sequence[Hashable] | None = None, seed: int = 0) -> WinRate:
    """The win rate with its BCa interval, as the report's other means have.

    Where every verdict is a win, or every one a loss, a bootstrap has nothing to go by; then it is Wilson's
    interval of as many clusters as there are.

    Args:
        verdicts: one an answer.
        clusters: [verdicts] a label for each; None as a label means that the answer stands alone.
        seed: of the bootstrap.
    """
    import numpy as np

    kept = [i for i, verdict in enumerate(verdicts) if verdict.score is not None]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    rate = np.asarray(scores, np.float64) / MOST
    if not kept:
        return WinRate(None, None, 0, 0, 0, len(verdicts))
    groups = None if clusters is None else [clusters[i] for i in kept]
    interval = bca_interval(rate, clusters=groups, seed=seed)
    if interval is not None and set(scores) in ({0.0}, {MOST}):
        count = len(kept) if groups is None else len(set(groups) - {None}) + groups.count(None)
        interval = wilson(count * (scores[0] == MOST), count)
    half = MOST / 2
    return WinRate(
        float(rate.mean()),
        interval,
        sum(score > half for score in scores),
        sum(score == half for score in scores),
        sum(score < half for score in scores),
        len(verdicts) - len(kept),
    )


def make(argument: str | None, setup: Setup) -> Pairwise:
    """`pairwise:JUDGE`."""
    if argument is None:
        raise CompareError("the judge 'pairwise' needs another: write pairwise:rules or pairwise:openai:MODEL.")
    judge = make_judge(argument, setup)
    if not hasattr(judge, "compare"):
        raise CompareError(f"the judge '{argument}' can't compare two answers: take rules, local or openai:MODEL.")
    return Pairwise(cast(Comparing, judge))
