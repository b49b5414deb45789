"""How often an answer wins over the baseline's."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from comparisons.judges.interface import MOST, Verdict
from comparisons.stats.intervals import Interval, bca_interval, wilson


@dataclass(frozen=True)
class Wins:
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


def win_rate(verdicts: Sequence[Verdict], clusters: Sequence[Hashable] | None = None, seed: int = 0) -> Wins:
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
        return Wins(None, None, 0, 0, 0, len(verdicts))
    own = None if clusters is None else [clusters[i] for i in kept]
    interval = bca_interval(rate, clusters=own, seed=seed)
    if interval is not None and set(scores) in ({0.0}, {MOST}):
        count = len(kept) if own is None else len(set(own) - {None}) + own.count(None)
        interval = wilson(count * (scores[0] == MOST), count)
    half = MOST / 2
    return Wins(
        float(rate.mean()),
        interval,
        sum(score > half for score in scores),
        sum(score == half for score in scores),
        sum(score < half for score in scores),
        len(verdicts) - len(kept),
    )
