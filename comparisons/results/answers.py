"""What a summary says of free answers and of those who judge them, as types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import NotRequired, TypedDict

from comparisons.results.schema import STRICT, Interval


class Wins(TypedDict):
    """How often a cell's answers won over the baseline's."""

    rate: NotRequired[float | None]
    ci: NotRequired[Interval | None]
    won: int
    tied: int
    lost: int


class Judged(TypedDict):
    """What one judge says of a cell's answers, and what it took."""

    n_scored: int
    no_sign: NotRequired[int]
    unparsed: int
    refused: int
    failed: int
    unasked: int
    score: NotRequired[float | None]
    score_ci: NotRequired[Interval | None]
    shift: NotRequired[float | None]
    shift_ci: NotRequired[Interval | None]
    agrees: NotRequired[bool | None]
    wins: NotRequired[Wins | None]
    n_rated: NotRequired[int]
    coherence: NotRequired[float | None]
    coherence_ci: NotRequired[Interval | None]
    coherence_change: NotRequired[float | None]
    coherence_change_ci: NotRequired[Interval | None]
    n_combined: NotRequired[int]
    combined: NotRequired[float | None]
    combined_ci: NotRequired[Interval | None]
    combined_change: NotRequired[float | None]
    combined_change_ci: NotRequired[Interval | None]
    tokens_in: NotRequired[float | None]
    tokens_out: NotRequired[float | None]
    dollars: NotRequired[float | None]


class OpenEnded(TypedDict):
    """What a cell's free answers are like; see `comparisons.evaluations.open_ended`."""

    n_answers: int
    length: NotRequired[float | None]
    length_change: NotRequired[float | None]
    length_change_ci: NotRequired[Interval | None]
    repetition: NotRequired[float | None]
    repetition_change: NotRequired[float | None]
    repetition_change_ci: NotRequired[Interval | None]
    fluency: NotRequired[float | None]
    fluency_change: NotRequired[float | None]
    fluency_change_ci: NotRequired[Interval | None]
    thought_tokens: NotRequired[float | None]
    thought_tokens_change: NotRequired[float | None]
    thought_tokens_change_ci: NotRequired[Interval | None]
    unfinished: NotRequired[int]
    judges: Mapping[str, Judged]


class Known(TypedDict):
    """How a judge does on answers of known score."""

    n: int
    n_scored: int
    no_sign: NotRequired[int]
    share_right: NotRequired[float | None]
    share_right_ci: NotRequired[Interval | None]
    mean_absolute_error: NotRequired[float | None]
    spearman: NotRequired[float | None]


class Agreement(TypedDict):
    """How far some judges agree."""

    judges: Sequence[str]
    n: int
    alpha: NotRequired[float | None]
    spearman: NotRequired[float | None]
    kendall: NotRequired[float | None]


class KnownByBehavior(Known):
    """The same over all behaviors, and of each."""

    behaviors: NotRequired[Mapping[str, Known]]


class Judges(TypedDict, total=False):
    """What the summary says of judges."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    known: Mapping[str, KnownByBehavior]
    agreement: Sequence[Agreement]


def by_rubric(judge: str, rubric: str) -> str:
    """The name under which a judge's scores by a further rubric stand, beside those by the behavior's own."""
    return f"{judge} [{rubric}]"


def is_further(judge: str) -> bool:
    """Whether scores are by a further rubric: they say nothing of the behavior."""
    return " [" in judge and judge.endswith("]")


Status = Literal["scored", "no_sign", "unparsed", "refused", "failed", "unasked"]

UNSCORED: tuple[Status, ...] = ("no_sign", "unparsed", "refused", "failed", "unasked")
"""Why an answer has no score."""
