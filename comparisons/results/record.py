"""A run folder as the report reads it: summary.json, run.json, choices.json and best/intervention.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from comparisons.results.cells import read_rows
from comparisons.results.findings import MARGIN
from comparisons.results.folder import BEST, read_summary
from comparisons.results.identity import on_model
from comparisons.results.schema import STRICT, RunFacts
from comparisons.results.summary import Summary
from comparisons.util.artifacts import MANIFEST, folder_fault
from comparisons.util.errors import CompareError
from comparisons.util.files import read_sealed

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One candidate on dev: its settings and its shift; None where it has no number.

    The shift is at strength 1 unless a strength stands among the settings.

    Attributes:
        cost_bound, kl_bound: the upper bounds of its knowledge cost and KL on dev; None where these are not limited.
        coherence_bound: the lower bound of its answers' coherence; likewise.
        broken: whether it broke the model.
        only: the direction in which alone it was tried; None for all that were wanted.
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    settings: Facts
    shift_pos: float | None = None
    shift_neg: float | None = None
    two_sided: float | None = None
    cost_bound: float | None = None
    kl_bound: float | None = None
    coherence_bound: float | None = None
    broken: bool = False
    only: str | None = None

    @property
    def text(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{name}={shown(value)}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Choice:
    """What dev chose for one method of one behavior.

    Attributes:
        chosen: the settings that won.
        trials: every candidate, in the order tried.
        n_items: dev questions; None where it wasn't kept.
        limits: quantity -> what its bound on dev may be; empty for a choice without limits.
        n_knowledge: dev questions of the knowledge set.
        model: of several; "" where the run has one.
    """

    behavior: str
    method: str
    chosen: Facts
    trials: tuple[Trial, ...]
    n_items: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    n_knowledge: int | None = None
    model: str = ""

    @property
    def subject(self) -> str:
        """The behavior, and the model where the run has several."""
        return on_model(self.behavior, self.model)

    @property
    def winner(self) -> Trial | None:
        """The trial with the chosen settings."""
        return next((trial for trial in self.trials if trial.settings == self.chosen), None)

    @property
    def by_layer(self) -> bool:
        """Whether the trials differ in their layer and in nothing else."""
        return len(self.trials) > 1 and all(
            set(trial.settings) == {"layer"} and isinstance(trial.settings["layer"], int) for trial in self.trials
        )


@dataclass(frozen=True)
class Matched:
    """The strength that was found for a cell.

    Attributes:
        match: the value wanted, such as "kl=0.1".
        strength: None where no strength has it.
        tried: strengths, each with what it had on dev.
        model: of several; "" where the run has one.
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    behavior: str
    method: str
    direction: str
    match: str
    strength: float | None
    tried: Sequence[tuple[float, float]]
    model: str = ""

    @property
    def subject(self) -> str:
        """The behavior, and the model where the run has several."""
        return on_model(self.behavior, self.model)


@dataclass(frozen=True)
class Record:
    """Everything that a report is made of.

    Attributes:
        summary: the rows.
        facts: run.json.
        choices: what was chosen on dev; empty where nothing was.
        matched: the strengths that `--match` found there.
        intervention: best/intervention.json, None where no cell ended well.
        answers: the result rows of open-ended answers.
    """

    summary: Summary
    facts: Facts
    choices: tuple[Choice, ...] = ()
    matched: tuple[Matched, ...] = ()
    intervention: Facts | None = None
    answers: tuple[Facts, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether the run's stacks stand at the layers of a sweep."""
        return bool(self.part("specification").get("layers"))

    @property
    def on_dev(self) -> bool:
        """Whether the run was evaluated on questions held out of the training pairs, not on the test questions."""
        return self.part("specification").get("split") == "dev"

    @property
    def asked(self) -> dict[str, Any]:
        """By evaluation, a hash of what was asked beside the behaviors' own questions; None for nothing."""
        evaluations = self.part("identity").get("evaluations") or {}
        return {name: each["data"] for name, each in evaluations.items()}

    @property
    def measured(self) -> tuple[str, ...]:
        """By what the run measures, and what of each model is behind it, a sentence a model."""
        return tuple(map(str, self.facts.get("measured") or ()))

    @property
    def seed(self) -> int:
        """The run's."""
        return int(self.part("specification").get("seed") or 0)

    @property
    def margin(self) -> float:
        """The difference between methods below which the run calls them equivalent."""
        return float(self.part("specification").get("margin") or MARGIN)

    def part(self, name: str) -> Facts:
        """An object of run.json, empty where it has none."""
        value = self.facts.get(name)
        return value if isinstance(value, Mapping) else {}


def read_record(run: Path) -> Record:
    """Reads a run folder; raises CompareError where a file that must be there is missing, or one is broken."""
    summary = read_summary(run)
    facts = _facts(run / "run.json")
    found: list[Choice | Matched] = []
    if (path := run / "choices.json").exists():
        listed = _object(path, "choices").get("choices")
        if not isinstance(listed, list):
            raise CompareError(f'{path} has no list "choices": delete it, and the run\'s command again chooses anew.')
        found = [_choice(choice, f"{path}, choice {number}") for number, choice in enumerate(listed, 1)]
    best = run / BEST / "intervention.json"
    if (run / BEST / MANIFEST).exists() and (fault := folder_fault(run / BEST)):
        raise CompareError(f"{fault}: the run's command makes it again.")
    answers = _answers(run, {row.cell for row in summary.rows if row.open_ended})
    choices = tuple(each for each in found if isinstance(each, Choice))
    matched = tuple(each for each in found if isinstance(each, Matched))
    return Record(summary, facts, choices, matched, _intervention(best) if best.exists() else None, answers)


class _Condition(TypedDict):
    layer: int
    threshold: float
    side: str
    tensor: str


class _Edit(TypedDict):
    layer: int
    multiplier: float
    operation: str
    positions: str
    tensor: str
    when: NotRequired[_Condition]


class _Intervention(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]

    model: str
    edits: NotRequired[list[_Edit] | None]


class _Answer(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]

    behavior: str
    prompt: str
    answer: str
    scores: dict[str, Any]


_INTERVENTION, _ANSWER, _CHOICE = TypeAdapter(_Intervention), TypeAdapter(_Answer), TypeAdapter(Choice)
_MATCHED = TypeAdapter(Matched)
_FACTS = TypeAdapter(RunFacts)
_ADAPTER = "adapter"


def _intervention(path: Path) -> Facts:
    intervention = _object(path, "best intervention")
    try:
        _INTERVENTION.validate_python(intervention)
    except ValidationError as error:
        message = f"{path} is no intervention as this program writes it: the run's command again mends it."
        raise CompareError(message) from error
    # Its folder is copied when it is shared: it must be the one beside the file.
    if intervention.get("adapter") is not None and (
        intervention["adapter"] != _ADAPTER or (path.parent / _ADAPTER).is_symlink()
    ):
        raise CompareError(f"{path}: the adapter must be the folder {_ADAPTER} beside it, and no link.")
    return intervention


def _answers(run: Path, cells: Collection[str]) -> tuple[Facts, ...]:
    rows = [row for answers in read_rows(run, ("open_ended",), cells).values() for row in answers] if cells else []
    for row in rows:
        try:
            _ANSWER.validate_python(row)
        except ValidationError as error:
            message = f"{run}: {row['cell']}, {row['item']}: is no answer as this program writes them."
            raise CompareError(message) from error
    return tuple(rows)


def shown(value: Any) -> str:
    """A setting's value as a user would type it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _object(path: Path, what: str) -> Facts:
    value = read_sealed(path, what)
    if not isinstance(value, dict):
        raise CompareError(f"{what}: {path} holds no JSON object.")
    return value


def _facts(path: Path) -> Facts:
    facts = _object(path, "run")
    try:
        return cast(Facts, _FACTS.validate_python(facts))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise CompareError(f"{path}: {place} is not as this program writes it: run its command again.") from error


def _choice(value: Any, where: str) -> Choice | Matched:
    kind: TypeAdapter[Any] = _MATCHED if isinstance(value, dict) and "match" in value else _CHOICE
    try:
        return cast(Choice | Matched, kind.validate_python(value))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise CompareError(f"{where}: {place}: {error.errors()[0]['msg']}.") from error
