"""What the summary says of a knowledge cost, and what else can be limited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from typing_extensions import TypedDict

QUANTITIES: Mapping[str, str] = {"cost": "knowledge cost", "kl": "KL"}
"""What `--select` can limit and `--match` match, in words: the lower, the less is changed."""


class CostTest(TypedDict):
    """Whether a knowledge cost is shown to lie below a margin, by 95% upper bounds; see `comparisons.stats.costs`.

    Attributes:
        verdict: "below" only where all three bounds lie below the margin; "not testable" with fewer than 150
            independent questions, or too few for the margin; "at chance" where guessing knows as much as the baseline.
        margin: as by --margin.
        chance: what guessing knows; None where that isn't known.
        limit: as by --select; None without.
        mean: of the mean cost; None with one question or cluster.
        falls: of the share of questions that fall by more than .1.
        cut: of the mean cost with each question's cut at .1, plus .9 times the bound of that share.
    """

    verdict: Literal["below", "not shown", "not testable", "at chance"]
    margin: float
    chance: float | None
    limit: float | None
    mean: float | None
    falls: float
    cut: float | None


class Frontier(TypedDict):
    """Where a cell stands among those of its behavior and direction and the baseline, by a joint bootstrap.

    Attributes:
        probability: of lying on the shift–cost frontier.
        dominated: of the rest: that some other moves no less far at no larger a cost, and is better in one of the two.
        by: the cell that does so most often; None where none ever does.
    """

    probability: float
    dominated: float
    by: str | None
