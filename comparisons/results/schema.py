"""What files of a run hold, as types: what is read is held to them by pydantic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import NotRequired, TypedDict

from comparisons.util.directions import Direction

SIDE = "side:"
"""Begins the name of an evaluation on another behavior's questions, in result rows: "side:refusal"."""

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
"""Numbers are finite, and nothing is taken for what it isn't."""


class CellInfo(TypedDict, total=False):
    """What is kept of a cell beside its rows; evaluations add to it.

    Attributes:
        error: why the cell failed.
        settings: "method.setting" -> value, with what was chosen.
        layer: where all edits are at one.
        fit_seconds, eval_seconds: wall time.
        peak_memory_bytes: the most memory in use when it ended.
        trainable_parameters: numbers that were trained, counted from the tensors that had a gradient, or fitted.
        seeds: of its fits, the first one's first; none where nothing of it is drawn at random.
        waiting: whether its free answers wait for judges, who are elsewhere.
    """

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    error: str
    settings: dict[str, Any]
    layer: int | None
    fit_seconds: float | None
    eval_seconds: float | None
    peak_memory_bytes: int | None
    trainable_parameters: int | None
    seeds: list[int]
    waiting: bool


class RunFacts(TypedDict, total=False):
    """run.json: what a run is, with what and where it was made, and when."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    digest: str
    command: str
    specification: dict[str, Any]
    identity: dict[str, Any]
    versions: dict[str, str | None]
    git_commit: str | None
    machine: dict[str, Any]
    model: dict[str, Any]
    models: list[dict[str, Any]]
    notes: list[str]
    measured: list[str]
    letters: dict[str, Any]
    evaluations: dict[str, Any] | None
    knowledge_questions: int
    started: str
    ended: str | None
    complete: bool


class ResultRow(TypedDict):
    """A line of results.jsonl: one item × order × cell × evaluation; evaluations add to it."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    cell: str
    evaluation: str
    item: str
    model: NotRequired[str]
    behavior: NotRequired[str]
    method: NotRequired[str]
    direction: NotRequired[str | None]
    strength: NotRequired[float]
    layer: NotRequired[int | None]
    seed: NotRequired[int]
    order: NotRequired[str]
    template: NotRequired[str | None]
    matching: NotRequired[str | None]
    contrast: NotRequired[str | None]
    logp_matching: NotRequired[float | None]
    logp_contrast: NotRequired[float | None]
    p_match: NotRequired[float | None]


Interval = Annotated[Sequence[float], Field(min_length=2, max_length=2)]
"""The lower and the upper end."""

Quantiles = Annotated[Sequence[float], Field(min_length=3, max_length=3)]
"""The 2.5%, 50% and 97.5% quantiles."""


def _finite(value: Any) -> Any:
    json.dumps(value, allow_nan=False)
    return value


Measured = Annotated[Mapping[str, Mapping[str, Any]], AfterValidator(_finite)]
"""An evaluation's name -> what it found, as JSON values without NaN and infinity."""


class Effect(TypedDict):
    """A shift with its interval."""

    shift: float
    ci: NotRequired[Interval | None]


class LabelShift(Effect):
    """The shift over the items of a label."""

    n_items: int


class LabelDifference(Effect):
    """The shift of the second label's items minus that of the first's."""

    first: str
    second: str


class Noise(TypedDict):
    """What a model's rounding does to p_match, measured on its own questions; see `comparisons.evaluation.noise`.

    Attributes:
        dtype: what the model computes in.
        against: what it was compared with: the same weights in float32, or itself with every module rounded at random.
        mean, largest: of a question's difference in p_match, without its sign.
        level, shift, content_shift: what all questions share of it, as a standard deviation: in the mean p_match, in a
            shift of it, and in a shift of the content logit.
    """

    dtype: str
    against: Literal["float32", "rounding"]
    n_items: int
    mean: float
    largest: float
    level: float
    shift: float
    content_shift: float


class Fits(TypedDict):
    """The fits behind a shift, where what is fitted draws at random; see `comparisons.stats.SeedSpread`.

    Attributes:
        deviation: the standard deviation of a single fit's true shift; None of a single fit.
        question_error: the standard error that the choice of questions leaves to the fits' mean.
        seed_error: what the choice of seeds adds to it, as squares add.
    """

    seeds: Sequence[int]
    shifts: Sequence[float]
    deviation: float | None
    question_error: float | None
    seed_error: float | None


class Category(TypedDict):
    """A category of knowledge questions."""

    n_items: int
    knowledge: float
    cost: float


class Flips(TypedDict):
    """Questions whose p_match rose above .5 or fell from it, and McNemar's p."""

    gained: int
    lost: int
    p_value: float


class Interaction(TypedDict):
    """A stack's shift minus the sum of its parts'."""

    shift: float
    ci: NotRequired[Interval | None]
    p_value: float
    content_shift: float
    content_ci: NotRequired[Interval | None]


class Steerability(TypedDict):
    """The slope of the content logit over signed strength."""

    strengths: NotRequired[Sequence[float]]
    slope: float
    ci: NotRequired[Interval | None]
    quantiles: NotRequired[Sequence[float]]
    spearman: NotRequired[float | None]
    anti_steerable: float


class Difference(TypedDict):
    """One cell's number minus another's, with an interval of its own and one over all pairs of the family.

    Its standard error is that over questions and seeds.
    """

    difference: float | None
    error: NotRequired[float | None]
    ci: Interval | None
    simultaneous_ci: Interval | None
    p_adjusted: float | None


Verdict = Literal["better", "worse", "equivalent", "undecided"]


class CostContrast(Difference):
    """The first cell's knowledge cost minus the second's; better is to cost less."""

    verdict: Verdict
    n_items: int
    n_clusters: int


@with_config(STRICT)
class Contrast(Difference):
    """The shift of cell `a` minus that of cell `b`, towards the direction asked for, on the questions that both have.

    Attributes:
        a, b: cells.
        name_a, name_b: their stacks as typed.
        verdict: of `a` against `b`.
        margin: a difference below it makes no difference.
        n_items, n_clusters, n_seeds: what stands behind it; of two cells' fits, where these draw at random, the fewer.
        reason: why there can be no verdict; None where there is one, or more questions would give one.
        items_needed: how many questions would decide it, where it is undecided.
        content: the same of the content logit.
        cost: the same of the knowledge cost; None where none was measured.
    """

    behavior: str
    direction: Direction
    a: str
    b: str
    name_a: str
    name_b: str
    verdict: Verdict
    margin: float
    n_items: int
    n_clusters: int
    n_seeds: int
    reason: NotRequired[str | None]
    items_needed: NotRequired[int | None]
    content: NotRequired[Difference | None]
    cost: NotRequired[CostContrast | None]


@with_config(STRICT)
class Pooled(TypedDict):
    """A method's shift, or its contrast with another, over behaviors; see `comparisons.stats.pooled`.

    Attributes:
        model, direction: of all.
        name, strength: the stack as typed with what varies of it, and its dose.
        against, against_strength: the other's; None for the unchanged model.
        mean: the random-effects mean, towards the direction asked for.
        ci: its 95% Hartung-Knapp interval.
        simultaneous_ci: the same over all methods, or all contrasts, of the direction (Bonferroni).
        tau: the standard deviation between behaviors.
        prediction: where another behavior's lies, 95%.
        turns: behaviors in which the sign is the other.
        turns_surely: those of them whose interval over all pairs or cells leaves out 0.
    """

    model: str
    direction: Direction
    name: str
    strength: float
    against: str | None
    against_strength: float | None
    n_behaviors: int
    mean: float
    ci: Interval
    simultaneous_ci: Interval
    tau: float
    prediction: Interval
    turns: Sequence[str]
    turns_surely: Sequence[str]


class Repeat(Effect):
    """The shift under a condition of `--robustness`; see `SummaryRow`."""

    survives: NotRequired[float | None]
    survives_ci: NotRequired[Interval | None]
    baseline: float
    lost_mass: float | None
    broken: bool


class Generated(TypedDict):
    """The answers of `--generated-choices`; see `comparisons.evaluation.generated`."""

    n_answers: int
    unparsed: float
    accuracy: NotRequired[float | None]
    accuracy_ci: NotRequired[Interval | None]
    agreement: NotRequired[float | None]
    n_items: int
    shift: NotRequired[float | None]
    shift_ci: NotRequired[Interval | None]
