"""What the summary says of a knowledge cost, and what else can be limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import NotRequired, TypedDict

QUANTITIES: Mapping[str, str] = {"cost": "knowledge cost", "kl": "KL", "coherence": "coherence"}
"""What `--select` can limit and `--match` match, in words."""

FALLING = frozenset({"coherence"})
"""Those that are the lower, the more is changed; the others are the higher."""


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
        area: of its method, whose cells all have the same: the mean over all costs from 0 to `area_to` of the largest
            shift within each; None where the cell that moves furthest costs nothing.
        area_ci: its 95% interval, by the same draws.
        area_to: the cost of the cell that moves furthest.
    """

    probability: float
    dominated: float
    by: str | None
    area: NotRequired[float | None]
    area_ci: NotRequired[Sequence[float] | None]
    area_to: NotRequired[float | None]
