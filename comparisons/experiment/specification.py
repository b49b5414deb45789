"""What a run is: the specification as the user gave it, checked, and the cells it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from comparisons.dataset.behaviors import ORDERS, Behavior, Item, KnowledgeSet, Order
from comparisons.judges.free_answers import OpenEnded
from comparisons.method.interface import Method
from comparisons.model.source import ModelSource
from comparisons.results.keys import baseline_key, on_model
from comparisons.util.directions import DIRECTIONS, Direction

LAYER = "layer"

SettingTexts = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Specification:
    """Everything that can change a run's numbers, as typed.

    Attributes:
        model: what to load.
        behaviors: names; empty for all of the data.
        stacks: as typed: "a", "a+b", "a:pos+b".
        data: a folder or file; None for the embedded data.
        directions: "pos", "neg" or both.
        strengths: doses, each at least 0.
        layer: "auto" or a number, for every method that has a layer.
        layers: what a sweep varies: blocks for the last method of each stack that has a layer; empty for a plain run.
        settings: method -> setting -> values; several values multiply cells.
        orders: "both" or "given".
        knowledge: "auto", "mmlu", "mmlu4", "truthfulqa", "none", or "lm_eval:TASK,TASK".
        train_items: how many contrast pairs to use; None for all.
        test_items: how many questions to evaluate on, of behaviors and knowledge alike; None for all.
        split: where the questions of the evaluation are from: "test", or "dev", cut from the training pairs.
        seed: of every random choice.
        plugins: a folder of further methods.
        select: a limit such as "cost<=0.02": of each stack the settings and the strength with the largest shift on dev
            within it are evaluated; None evaluates every strength.
        controls: add every control as a stack of its own, and rank each vector among random ones.
        side_effects: evaluate each cell on all other behaviors of the data too.
        robustness: evaluate each cell again under other wordings and another prompt format.
        generated_choices: let each cell write an answer to every question too, and find the choice in it.
        open_ended: let each cell answer the open-ended prompts, and how; None for not.
        more_models: names of further models for the same table, loaded as `model` is.
    """

    model: ModelSource = field(default_factory=ModelSource)
    behaviors: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    data: Path | None = None
    directions: tuple[str, ...] = DIRECTIONS
    strengths: tuple[float, ...] = (1.0,)
    layer: str = "auto"
    layers: tuple[int, ...] = ()
    settings: SettingTexts = field(default_factory=dict)
    orders: Literal["both", "given"] = "both"
    knowledge: str = "auto"
    train_items: int | None = None
    test_items: int | None = None
    split: Literal["dev", "test"] = "test"
    seed: int = 0
    plugins: Path | None = None
    select: str | None = None
    controls: bool = False
    side_effects: bool = False
    robustness: bool = False
    generated_choices: bool = False
    open_ended: OpenEnded | None = None
    more_models: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """Every model of the run."""
        return (self.model, *(replace(self.model, name=name) for name in self.more_models))

    def as_json(self) -> dict[str, Any]:
        """The specification as run.json shows it."""
        return {
            "model": self.model.name,
            "more_models": list(self.more_models),
            "dtype": self.model.dtype,
            "quantize": self.model.quantize,
            "prompt_format": self.model.prompt_format,
            "blocks": self.model.blocks,
            "behaviors": list(self.behaviors),
            "stacks": list(self.stacks),
            "data": str(self.data) if self.data else None,
            "directions": list(self.directions),
            "strengths": list(self.strengths),
            "layer": self.layer,
            "layers": list(self.layers),
            "settings": {m: {f: list(v) for f, v in fields.items()} for m, fields in self.settings.items()},
            "orders": self.orders,
            "knowledge": self.knowledge,
            "train_items": self.train_items,
            "test_items": self.test_items,
            "split": self.split,
            "seed": self.seed,
            "plugins": str(self.plugins) if self.plugins else None,
            "select": self.select,
            "controls": self.controls,
            "side_effects": self.side_effects,
            "robustness": self.robustness,
            "generated_choices": self.generated_choices,
            "open_ended": self.open_ended and self.open_ended.as_json(),
        }


@dataclass(frozen=True)
class Element:
    """One method of a stack, ready to use.

    Attributes:
        name: the method's name.
        method: with its settings.
        direction: its own, or the cell's.
        strength: its dose.
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
        behavior: its name.
        label: the stack as typed, or "baseline".
        elements: from left to right; empty for the baseline.
        direction: None for the baseline.
        strength: 0 for the baseline.
        variant: the settings that vary within the run, as "caa.layer=2"; "" where none does.
        model: the model's name where the run has several; "" where it has one.
    """

    behavior: str
    label: str
    elements: tuple[Element, ...] = ()
    direction: Direction | None = None
    strength: float = 0.0
    variant: str = ""
    model: str = ""

    @property
    def control(self) -> bool:
        """Whether a control stands in the stack: it is there to be compared with, never to win."""
        return any(element.method.role == "control" for element in self.elements)

    @property
    def key(self) -> str:
        """A readable name that no other cell of the run has."""
        if not self.elements:
            return baseline_key(self.behavior, self.model)
        variant = f"[{self.variant}]" if self.variant else ""
        place = f"{self.behavior}/{self.label}{variant}/{self.direction}/{self.strength:g}"
        return on_model(place, self.model)


@dataclass(frozen=True)
class Plan:
    """A checked specification with its data.

    Attributes:
        spec: with `behaviors` filled in.
        behaviors: by name, cut to the sizes asked for; `dev` is empty unless something is chosen or evaluated on it.
        knowledge: the knowledge questions, None for none.
        cells: model after model, behavior after behavior, each behavior's baseline first.
        notes: lines that the report must show.
        knowledge_dev: knowledge questions held out for choosing at a limited cost; empty where nothing is.
        side: test questions of every behavior of the data, by name, where side effects are asked for; else empty.
    """

    spec: Specification
    behaviors: Mapping[str, Behavior]
    knowledge: KnowledgeSet | None
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    side: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    knowledge_dev: Sequence[Item] = ()

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders to ask in."""
        return ORDERS if self.spec.orders == "both" else ("given",)

    def of(self, source: ModelSource) -> Plan:
        """The part of the plan that is about one of its models."""
        model = source.name if self.spec.more_models else ""
        cells = tuple(cell for cell in self.cells if cell.model == model)
        return replace(self, spec=replace(self.spec, model=source, more_models=()), cells=cells)

    def asked(self, behavior: str) -> Sequence[Item]:
        """The questions on which a behavior is evaluated."""
        found = self.behaviors[behavior]
        return found.dev if self.spec.split == "dev" else found.test
