"""Whether judges agree on the same answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from comparisons.stats.content import rank_correlation

Scores = Sequence[float | None]
"""One judge's scores, None where it gave none."""


@dataclass(frozen=True)
class Agreement:
    """Of two judges, or of all; what can't be computed is None.

    Attributes:
        judges: their names.
        n: answers that both of them scored, of all judges those that at least two did.
        left_out: the other answers.
        alpha: Krippendorff's, for interval data (Krippendorff 2019, Content Analysis, chapter 12): 1 for the same
            scores, 0 for what chance brings, below that for worse. It falls where one judge scores higher throughout.
        spearman: of two judges: whether they order answers alike, whatever their levels.
        kendall: likewise, tau-b.
    """

    judges: tuple[str, ...]
    n: int
    left_out: int
    alpha: float | None
    spearman: float | None = None
    kendall: float | None = None


def agreement(scores: Mapping[str, Scores]) -> list[Agreement]:
    """Every pair of judges, in the order given, then all together where they are three or more.

    Args:
        scores: judge -> [answers], of the same answers in the same order.

    Raises:
        ValueError: judges were given different numbers of answers.
    """
    if len({len(own) for own in scores.values()}) > 1:
        raise ValueError("the judges' scores are of different numbers of answers")
    groups: list[tuple[str, ...]] = list(combinations(scores, 2))
    if len(scores) > 2:
        groups.append(tuple(scores))
    return [_agreement(group, [scores[judge] for judge in group]) for group in groups]


def _agreement(judges: tuple[str, ...], scores: Sequence[Scores]) -> Agreement:
    answers = [answer for answer in zip(*scores, strict=True) if sum(score is not None for score in answer) > 1]
    left_out = len(scores[0]) - len(answers)
    if not answers:
        return Agreement(judges, 0, left_out, None)
    # Alpha is made for answers that some didn't score.
    rated = [[math.nan if score is None else score for score in own] for own in zip(*answers, strict=True)]
    if len(judges) > 2:
        return Agreement(judges, len(answers), left_out, _alpha(rated))
    spearman, kendall = rank_correlation("spearman", *rated), rank_correlation("kendall", *rated)
    return Agreement(judges, len(answers), left_out, _alpha(rated), spearman, kendall)


def _alpha(rated: Sequence[Sequence[float]]) -> float | None:
    """Of [judges][answers]; there is none where nothing varies."""
    import krippendorff

    if len({score for own in rated for score in own if not math.isnan(score)}) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=rated, level_of_measurement="interval"))
