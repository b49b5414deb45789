"""What a run is: the specification as the user gave it, checked, and the cells it stands for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from comparisons import stats
from comparisons.dataset.items import Item
from comparisons.dataset.packaged import POCKET, data_path
from comparisons.experiment.limits import Limits, Match, parse_limits, parse_match
from comparisons.judges.free_answers import OpenEnded
from comparisons.model.source import ModelSource
from comparisons.results.findings import MARGIN
from comparisons.results.identity import CellId
from comparisons.util.directions import DIRECTIONS, Direction
from comparisons.util.errors import CompareError, unknown
from comparisons.util.options import Option, recorded, some_names, text, values_of

if TYPE_CHECKING:
    from comparisons.method.interface import Method

SettingTexts = Mapping[str, Mapping[str, Sequence[str]]]


def settings_of(given: Iterable[str] | Mapping[str, Any], name: str) -> SettingTexts:
    """Settings as typed by --set, or as a mapping."""
    from comparisons.method.settings import parse_set_options, setting_texts

    return setting_texts(given) if isinstance(given, Mapping) else parse_set_options(given)


def margin_of(given: float, name: str) -> float:
    """A difference of probabilities, as a number between 0 and 1."""
    if not 0 < given < 1:
        raise CompareError(f"{name} must lie between 0 and 1, not {given:g}: it is a difference of probabilities.")
    return float(given)


def layers_of(given: str | int | Iterable[int], name: str) -> str:
    """Layers as text."""
    return ",".join(map(str, given)) if isinstance(given, Iterable) and not isinstance(given, str) else str(given)


def check_limit(limit: float, dev: Sequence[Item]) -> None:
    """Raises CompareError where the knowledge questions held out to choose by can't show a cost within a limit."""
    units = len({item.template or item.id for item in dev})
    least = math.ceil(1000 * stats.least_limit(units)) / 1000
    if limit < least:
        raise CompareError(
            f"--select cost<={limit:g}: the {units} knowledge questions that are held out to choose by can't show a "
            f"cost that small: allow at least {least:g}."
        )


LAYER = "layer"

HARNESS = "lm_eval:"
"""Begins a choice of knowledge questions that are tasks of lm-evaluation-harness."""

SWEEP: Mapping[str, Any] = {"strengths": (0.5, 1.0, 2.0), "knowledge": "none", "split": "dev"}
"""What an option is by default where a sweep differs from a run."""


@dataclass(frozen=True)
class Specification:
    """Everything that can change a run's numbers, as typed; an option's help says what a field is.

    Attributes:
        model: what to load.
        behaviors: names; empty for all of the data.
        stacks: as typed: "a", "a+b", "a:pos+b".
        layers: what a sweep varies: blocks for the last method of each stack that has a layer; empty for a plain run.
        settings: method -> setting -> values; several values multiply cells.
        open_ended: let each cell answer the open-ended prompts, and how; None for not.
        more_models: names of further models for the same table, loaded as `model` is.
    """

    model: ModelSource = field(default_factory=ModelSource)
    behaviors: Annotated[
        tuple[str, ...],
        Option("What to change.", name="behavior", metavar="NAME[,NAME…]|all", read=some_names, required=True),
    ] = ()
    stacks: Annotated[
        tuple[str, ...], Option("How: caa,sft+caa,…", name="methods", metavar="STACK[,STACK…]", required=True)
    ] = ()
    data: Annotated[
        Path | None,
        Option(
            "Folder in the paper's layout, one file, or what comes along: pocket, by default for the model pocket, or "
            "english, for any other.",
            metavar="pocket|english|DIR|FILE",
            read=data_path,
        ),
    ] = None
    directions: Annotated[
        tuple[str, ...], Option("More, less, or both.", metavar="pos|neg|pos,neg", read=some_names)
    ] = DIRECTIONS
    strengths: Annotated[tuple[float, ...], Option("Doses, at least 0.", metavar="S[,S…]")] = (1.0,)
    layer: Annotated[str, Option("For methods that have one.", metavar="auto|N", read=text)] = "auto"
    layers: Annotated[
        tuple[int, ...],
        Option("Blocks, counted from 0.", metavar="all|A-B|N[,…]", read=layers_of, required=True, default_in_help=True),
    ] = ()
    settings: Annotated[
        SettingTexts,
        Option(
            "A list multiplies cells; A+B is a list that is one value.",
            flag="--set",
            metavar="METHOD.FIELD=VALUE[,VALUE…]",
            read=settings_of,
        ),
    ] = field(default_factory=dict)
    orders: Annotated[
        Literal["both", "given"],
        Option("Ask with the two choices as given and exchanged, or as given only (the paper's way)."),
    ] = "both"
    measure: Annotated[
        Literal["auto", "letters", "answers"],
        Option("By the choices' letters, or by their texts as answers; auto: by letters where the model can use them."),
    ] = "auto"
    knowledge: Annotated[
        str,
        Option(
            "Questions on which the cost is measured, or tasks of lm-evaluation-harness.",
            metavar="auto|mmlu|mmlu4|truthfulqa|none|lm_eval:TASK[,TASK]",
            choices=("auto", "mmlu", "mmlu4", "truthfulqa", "none", HARNESS),
        ),
    ] = "auto"
    margin: Annotated[
        float,
        Option("Shifts that differ by less are equivalent; a cost that is less is none.", metavar="E", read=margin_of),
    ] = MARGIN
    train_items: Annotated[int | None, Option("Contrast pairs to use; all by default.", metavar="N")] = None
    test_items: Annotated[int | None, Option("Questions to evaluate on; all by default.", metavar="N")] = None
    knowledge_items: Annotated[int | None, Option("Knowledge questions to ask; all by default.", metavar="N")] = None
    split: Annotated[
        Literal["dev", "test"], Option("Where the questions are from; dev is cut from the training pairs.")
    ] = "test"
    allow_leaks: Annotated[bool, Option("Go on where test questions stand among the pairs to fit on.")] = False
    seed: Annotated[int, Option("Of splits, fits and intervals.", least=0, most=2**32 - 1)] = 0
    seeds: Annotated[int, Option("Fit what draws at random so many times, by seeds that follow --seed.", least=1)] = 1
    resample: Annotated[Literal["none", "pairs"], Option("Draw the training pairs anew with each seed.")] = "none"
    plugins: Annotated[Path | None, Option("Folder of further methods, one file each.")] = None
    select: Annotated[
        str | None,
        Option(
            "Of each stack only the settings and strength with the largest shift on dev within limits.",
            metavar='"cost<=C,kl<=K,coherence>=N"',
        ),
    ] = None
    match: Annotated[
        str | None,
        Option("Each method at the strength at which it has this value on dev.", metavar="kl=K|cost=C|coherence=N"),
    ] = None
    controls: Annotated[bool, Option("Add every control, and rank each vector among random directions.")] = False
    side_effects: Annotated[bool, Option("Evaluate each cell on the data's other behaviors too.", asks=True)] = False
    robustness: Annotated[
        bool,
        Option(
            "Evaluate each cell again under other system prompts, a user-turn prefix and another prompt format.",
            asks=True,
        ),
    ] = False
    generated_choices: Annotated[
        bool, Option("Let each cell write an answer to every question too, and find the choice in it.", asks=True)
    ] = False
    kl: Annotated[
        bool, Option("Measure how far each cell's next tokens are from the unchanged model's.", asks=True)
    ] = False
    perplexity: Annotated[
        Path | None,
        Option(
            "A text, or english for one that comes along: how likely it is.",
            metavar="FILE|english",
            read=data_path,
            asks=True,
        ),
    ] = None
    evaluate: Annotated[
        tuple[str, ...], Option("Further evaluations, as of --evaluations.", metavar="NAME[,NAME…]", asks=True)
    ] = ()
    evaluations: Annotated[Path | None, Option("Folder of further evaluations, one file each.")] = None
    open_ended: Annotated[
        OpenEnded | None,
        Option("Let each cell answer the open-ended prompts freely, and score the answers; --judge turns it on too."),
    ] = None
    more_models: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Specification:
        """What options say that have been read, by name, a sweep's layers aside; others are at their defaults.

        Raises:
            CompareError: they contradict each other.
        """
        model, *more = given.get("model") or (ModelSource.name,)
        fields = values_of(cls, {name: value for name, value in given.items() if name != "layers"})
        if fields.get("behaviors") == ("all",):
            fields["behaviors"] = ()
        fields["open_ended"] = OpenEnded.of(given, given.get("open_ended"))
        return cls(ModelSource(**values_of(ModelSource, {**given, "model": model})), more_models=tuple(more), **fields)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Specification:
        """The specification of a run, read from its run.json.

        Raises:
            CompareError: it isn't one.
        """
        from pydantic import TypeAdapter, ValidationError

        model = {
            "name": record.get("model"),
            **{name: record[name] for name in recorded(ModelSource()) if name in record},
        }
        try:
            # Where runs name no data, they are from before any had a name but the embedded model's.
            given = {**record, "model": model, "data": record.get("data") or POCKET}
            return TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            raise CompareError(f"the specification in run.json can't be read: {error.errors()[0]['loc'][0]}") from error

    def check(self) -> None:
        """Raises CompareError where a value is out of its range, or something is named twice."""
        if not self.stacks:
            raise CompareError("no methods: name some by --methods, such as caa,sft,sysprompt,sft+caa.")
        models = tuple(source.name for source in self.sources)
        lists = {"model": models, "behavior": self.behaviors, "stack": self.stacks, "strength": self.strengths}
        for kind, values in lists.items():
            twice = next((v for v in values if values.count(v) > 1), None)
            if twice is not None:
                raise CompareError(f"the {kind} '{twice}' is named twice: name it once.")
        for direction in self.directions:
            if direction not in DIRECTIONS:
                raise unknown("direction", direction, DIRECTIONS)
        for strength in self.strengths:
            if not (math.isfinite(strength) and strength >= 0):
                raise CompareError(f"a strength must be a finite number of at least 0, not {strength:g}.")
        for name in ("train_items", "test_items", "knowledge_items"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise CompareError(f"--{name.replace('_', '-')} must be at least 1, not {count}.")
        if self.resample == "pairs" and self.seeds == 1:
            raise CompareError("--resample pairs draws pairs anew with each seed: give --seeds of at least 2.")

    @property
    def limits(self) -> Limits:
        """What `--select` limits; raises CompareError where that can't be read."""
        return {} if self.select is None else parse_limits(self.select)

    @property
    def wanted(self) -> Match | None:
        """The value that `--match` wants; raises CompareError where that can't be read."""
        return None if self.match is None else parse_match(self.match)

    def chooses_by(self, quantity: str) -> bool:
        """Whether `--select` limits it or `--match` wants a value of it, so that something is held out for it."""
        return quantity in self.limits or (self.wanted is not None and self.wanted.quantity == quantity)

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """Every model of the run."""
        return (self.model, *(replace(self.model, name=name) for name in self.more_models))

    def as_json(self) -> dict[str, Any]:
        """The specification as run.json shows it."""
        answers, loading = self.open_ended and recorded(self.open_ended), recorded(self.model)
        return {
            **recorded(self),
            "model": loading.pop("name"),
            **loading,
            "more_models": list(self.more_models),
            "open_ended": answers,
        }


@dataclass(frozen=True)
class Element:
    """One method of a stack, ready to use.

    Attributes:
        direction: its own, or the cell's.
        fixed: whether the direction is its own, by `name:pos`.
    """

    name: str
    method: Method
    direction: Direction
    strength: float
    fixed: bool = False


@dataclass(frozen=True)
class Cell:
    """The unit of work: one model × behavior × stack with its settings × direction × strength.

    Attributes:
        label: the stack as typed, or "baseline".
        elements: from left to right; empty for the baseline.
        direction: None for the baseline.
        strength: 0 for the baseline.
        varied: the settings that vary within the run, in their order: ("caa.layer", "2").
        model: the model's name where the run has several; "" where it has one.
        seeds: of its fits, the run's first; empty where nothing of it is drawn at random.
    """

    behavior: str
    label: str
    elements: tuple[Element, ...] = ()
    direction: Direction | None = None
    strength: float = 0.0
    varied: tuple[tuple[str, str], ...] = ()
    model: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def control(self) -> bool:
        """Whether a control stands in the stack: it is there to be compared with, never to win."""
        return any(element.method.role == "control" for element in self.elements)

    def at(self, strength: float) -> Cell:
        """The cell at another strength, which goes to the last dosed element."""
        last = max(place for place, each in enumerate(self.elements) if each.method.dosed)
        elements = list(self.elements)
        elements[last] = replace(elements[last], strength=strength)
        return replace(self, elements=tuple(elements), strength=strength)

    @property
    def id(self) -> CellId:
        """Which cell it is."""
        return CellId(self.behavior, self.label, self.varied, self.direction, float(self.strength), self.model)

    @property
    def key(self) -> str:
        """Its identity's text, which no other cell of the run has."""
        return str(self.id)
