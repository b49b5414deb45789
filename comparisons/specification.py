"""What a run is: the specification as the user gave it, checked, and the cells it stands for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from comparisons.behaviors import ORDERS, Behavior, KnowledgeSet, Library, Order
from comparisons.errors import CompareError, unknown
from comparisons.intervention import DIRECTIONS, Direction
from comparisons.loading import ModelSource
from comparisons.method import Method
from comparisons.registry import Registry
from comparisons.settings import parse_settings
from comparisons.stacks import Stack, check_stack, parse_stack

BASELINE = "baseline"
LAYER = "layer"
STRENGTH = "strength"

SettingTexts = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Specification:
    """Everything that can change a run's numbers, as typed.

    Attributes:
        model: what to load.
        behaviors: names; empty for all of the data.
        stacks: as typed: "caa", "sft+caa", "sft:pos+caa".
        data: a folder or file; None for the embedded data.
        directions: "pos", "neg" or both.
        strengths: doses, each at least 0.
        layer: "auto" or a number, for every method that has a layer.
        settings: method -> setting -> values; several values multiply cells.
        orders: "both" or "given".
        knowledge: "auto", "mmlu", "truthfulqa" or "none".
        train_items: how many contrast pairs to use; None for all.
        test_items: how many test questions, of behaviors and knowledge alike; None for all.
        seed: of every random choice.
        plugins: a folder of further methods.
    """

    model: ModelSource = field(default_factory=ModelSource)
    behaviors: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    data: Path | None = None
    directions: tuple[str, ...] = DIRECTIONS
    strengths: tuple[float, ...] = (1.0,)
    layer: str = "auto"
    settings: SettingTexts = field(default_factory=dict)
    orders: Literal["both", "given"] = "both"
    knowledge: str = "auto"
    train_items: int | None = None
    test_items: int | None = None
    seed: int = 0
    plugins: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """The specification as run.json shows it."""
        return {
            "model": self.model.name,
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
            "settings": {m: {f: list(v) for f, v in fields.items()} for m, fields in self.settings.items()},
            "orders": self.orders,
            "knowledge": self.knowledge,
            "train_items": self.train_items,
            "test_items": self.test_items,
            "seed": self.seed,
            "plugins": str(self.plugins) if self.plugins else None,
        }


@dataclass(frozen=True)
class Element:
    """One method of a stack, ready to use.

    Attributes:
        name: the method's name.
        method: with its settings.
        direction: fixed by `name:pos`, or the cell's.
        strength: its dose.
    """

    name: str
    method: Method
    direction: Direction
    strength: float


@dataclass(frozen=True)
class Cell:
    """The unit of work: one behavior × stack with its settings × direction × strength.

    Attributes:
        behavior: its name.
        label: the stack as typed, or "baseline".
        elements: from left to right; empty for the baseline.
        direction: None for the baseline.
        strength: 0 for the baseline.
        variant: the settings that vary within the run, as "caa.layer=2"; "" where none does.
    """

    behavior: str
    label: str
    elements: tuple[Element, ...] = ()
    direction: Direction | None = None
    strength: float = 0.0
    variant: str = ""

    @property
    def key(self) -> str:
        """A readable name that no other cell of the run has."""
        if not self.elements:
            return f"{self.behavior}/{self.label}"
        variant = f"[{self.variant}]" if self.variant else ""
        return f"{self.behavior}/{self.label}{variant}/{self.direction}/{self.strength:g}"


@dataclass(frozen=True)
class Plan:
    """A checked specification with its data.

    Attributes:
        spec: with `behaviors` filled in.
        behaviors: by name, cut to the sizes asked for; `dev` is empty unless something is chosen.
        knowledge: the knowledge questions, None for none.
        cells: baselines first within each behavior.
        notes: lines that the report must show.
    """

    spec: Specification
    behaviors: Mapping[str, Behavior]
    knowledge: KnowledgeSet | None
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders to ask in."""
        return ORDERS if self.spec.orders == "both" else ("given",)


def make_plan(spec: Specification) -> Plan:
    """Checks everything that can be checked without the model.

    Raises:
        CompareError: something is unknown, out of range or missing; nothing has been written.
    """
    _check_numbers(spec)
    registry = Registry(spec.plugins)
    methods = _methods(spec, registry)
    library = Library.open(spec.data)
    spec = replace(spec, behaviors=spec.behaviors or library.names)
    chosen = any(method.candidates(1) for variants in methods.values() for _, _, method in variants)
    behaviors = {}
    for name in spec.behaviors:
        behavior = library.behavior(name).limited(spec.train_items, spec.test_items, spec.seed)
        behaviors[name] = behavior.with_dev(spec.seed) if chosen else behavior
    knowledge = library.knowledge(spec.knowledge)
    if knowledge is not None:
        knowledge = knowledge.limited(spec.test_items, spec.seed)
    cells = [cell for name in spec.behaviors for cell in _cells(spec, name, methods)]
    return Plan(spec, behaviors, knowledge, tuple(cells), _notes(behaviors, knowledge))


def _check_numbers(spec: Specification) -> None:
    if not spec.stacks:
        raise CompareError("no methods: name some by --methods, such as caa,sft,sysprompt,sft+caa.")
    for kind, values in (("behavior", spec.behaviors), ("stack", spec.stacks), ("strength", spec.strengths)):
        twice = next((v for v in values if values.count(v) > 1), None)  # type: ignore[arg-type]
        if twice is not None:
            raise CompareError(f"the {kind} '{twice}' is named twice: name it once.")
    for direction in spec.directions:
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS)
    for strength in spec.strengths:
        if not (math.isfinite(strength) and strength >= 0):
            raise CompareError(f"a strength must be a finite number of at least 0, not {strength:g}.")
    for name, count in (("--train-items", spec.train_items), ("--test-items", spec.test_items)):
        if count is not None and count < 1:
            raise CompareError(f"{name} must be at least 1, not {count}.")


Variant = tuple[Stack, str, Method]
