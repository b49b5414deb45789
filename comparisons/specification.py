"""What a run is: the specification as the user gave it, checked, and the cells it stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from comparisons.behaviors import ORDERS, Behavior, Item, KnowledgeSet, Library, Order
from comparisons.errors import CompareError, unknown
from comparisons.intervention import DIRECTIONS, Direction
from comparisons.loading import ModelSource
from comparisons.method import Method
from comparisons.registry import Registry
from comparisons.settings import STRENGTH, expand, parse_settings, parse_strength
from comparisons.splits import draw
from comparisons.stacks import Stack, check_stack, check_strengths, parse_stack, resolve, supporting

BASELINE = "baseline"
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
        knowledge: "auto", "mmlu", "truthfulqa" or "none".
        train_items: how many contrast pairs to use; None for all.
        test_items: how many questions to evaluate on, of behaviors and knowledge alike; None for all.
        split: where the questions of the evaluation are from: "test", or "dev", cut from the training pairs.
        seed: of every random choice.
        plugins: a folder of further methods.
        controls: add every control as a stack of its own, and rank each vector among random ones.
        side_effects: evaluate each cell on all other behaviors of the data too.
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
    controls: bool = False
    side_effects: bool = False

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
            "layers": list(self.layers),
            "settings": {m: {f: list(v) for f, v in fields.items()} for m, fields in self.settings.items()},
            "orders": self.orders,
            "knowledge": self.knowledge,
            "train_items": self.train_items,
            "test_items": self.test_items,
            "split": self.split,
            "seed": self.seed,
            "plugins": str(self.plugins) if self.plugins else None,
            "controls": self.controls,
            "side_effects": self.side_effects,
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
    def control(self) -> bool:
        """Whether a control stands in the stack: it is there to be compared with, never to win."""
        return any(element.method.role == "control" for element in self.elements)

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
        behaviors: by name, cut to the sizes asked for; `dev` is empty unless something is chosen or evaluated on it.
        knowledge: the knowledge questions, None for none.
        cells: baselines first within each behavior.
        notes: lines that the report must show.
        side: test questions of every behavior of the data, by name, where side effects are asked for; else empty.
    """

    spec: Specification
    behaviors: Mapping[str, Behavior]
    knowledge: KnowledgeSet | None
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    side: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders to ask in."""
        return ORDERS if self.spec.orders == "both" else ("given",)

    def asked(self, behavior: str) -> tuple[Item, ...]:
        """The questions on which a behavior is evaluated."""
        found = self.behaviors[behavior]
        return found.dev if self.spec.split == "dev" else found.test


def make_plan(spec: Specification) -> Plan:
    """Checks everything that can be checked without the model.

    Raises:
        CompareError: something is unknown, out of range or missing; nothing has been written.
    """
    _check_numbers(spec)
    registry = Registry(spec.plugins)
    if spec.controls:
        spec = replace(spec, stacks=(*spec.stacks, *_controls(spec, registry)))
    variants = _variants(spec, registry)
    library = Library.open(spec.data)
    spec = replace(spec, behaviors=spec.behaviors or library.names)
    chosen = any(method.candidates(1) for variant in variants for method in variant.methods.values())
    behaviors = {}
    for name in spec.behaviors:
        behavior = library.behavior(name).limited(spec.train_items, spec.test_items, spec.seed)
        behaviors[name] = _with_dev(spec, behavior) if chosen or spec.split == "dev" else behavior
    knowledge = library.knowledge(spec.knowledge)
    if knowledge is not None:
        knowledge = knowledge.limited(spec.test_items, spec.seed)
    cells = [cell for name in spec.behaviors for cell in _cells(spec, name, variants)]
    plan = Plan(spec, behaviors, knowledge, tuple(cells), (), _side(spec, library))
    return replace(plan, notes=_notes(plan))


def _controls(spec: Specification, registry: Registry) -> list[str]:
    """Every control that isn't a stack of the run already; a broken plugin's role is unknown, and it is none."""
    return [info.name for info in registry.describe() if info.role == "control" and info.name not in spec.stacks]


def _side(spec: Specification, library: Library) -> dict[str, tuple[Item, ...]]:
    """The test questions on which side effects are measured."""
    if not spec.side_effects:
        return {}
    if not (len(spec.behaviors) > 1 or set(library.names) - set(spec.behaviors)):
        raise CompareError(f"--side-effects: the data has no other behavior than {spec.behaviors[0]}: leave it out.")
    every = {name: library.behavior(name).limited(None, spec.test_items, spec.seed) for name in library.names}
    return {name: behavior.test for name, behavior in every.items()}


def _with_dev(spec: Specification, behavior: Behavior) -> Behavior:
    """Cuts the dev split; where it is what is evaluated, it is limited as the test questions are."""
    found = behavior.with_dev(spec.seed)
    if spec.split == "test" or spec.test_items is None:
        return found
    return replace(found, dev=draw(found.dev, spec.test_items, spec.seed))


def _check_numbers(spec: Specification) -> None:
    if not spec.stacks:
        raise CompareError("no methods: name some by --methods, such as caa,sft,sysprompt,sft+caa.")
    for kind, values in (("behavior", spec.behaviors), ("stack", spec.stacks), ("strength", spec.strengths)):
        twice = next((v for v in values if values.count(v) > 1), None)
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


@dataclass(frozen=True)
class Variant:
    """A stack with one value for each of its settings.

    Attributes:
        stack: the stack.
        methods: by name, with their settings.
        strengths: of the elements that don't take the run's.
        text: what varies between the variants of the run, as "caa.layer=2"; "" where nothing does.
        swept: whether a sweep varies a layer of it.
    """

    stack: Stack
    methods: Mapping[str, Method]
    strengths: Mapping[str, float]
    text: str
    swept: bool = False


def swept_method(stack: Stack, classes: Mapping[str, type[Method]]) -> str | None:
    """The method of a stack whose layer a sweep varies: the last that has one; None where none has."""
    return next((name for name in reversed(stack.names) if _has_layer(classes[name])), None)


def _has_layer(cls: type[Method]) -> bool:
    return LAYER in {f.name for f in fields(cls)}


def _variants(spec: Specification, registry: Registry) -> list[Variant]:
    """Every stack with every combination of the settings given for its methods."""
    stacks = [parse_stack(text) for text in spec.stacks]
    classes = {name: registry.get(name) for stack in stacks for name in stack.names}
    for name, given in spec.settings.items():
        if name not in classes:
            raise CompareError(f"--set {name}.{next(iter(given))}: no stack of this run has a method '{name}'.")
    for stack in stacks:
        check_stack(stack, classes)
    check_strengths(stacks, classes, [name for name, given in spec.settings.items() if STRENGTH in given])
    found = []
    for stack in stacks:
        swept = bool(spec.layers) and swept_method(stack, classes) is not None
        variants = [_variant(stack, classes, values) for values in expand(_values(spec, stack, classes))]
        found += [replace(variant, swept=swept) for variant in variants]
    return found


def _values(spec: Specification, stack: Stack, classes: Mapping[str, type[Method]]) -> dict[str, Sequence[str]]:
    """The values to combine, by "method.setting"; a single one too."""
    values: dict[str, Sequence[str]] = {}
    swept = swept_method(stack, classes) if spec.layers else None
    for name in stack.names:
        given = spec.settings.get(name, {})
        if name == swept:
            if LAYER in given:
                raise CompareError(f"--set {name}.{LAYER} is what the sweep of '{stack.label}' varies: use --layers.")
            values[f"{name}.{LAYER}"] = [str(layer) for layer in spec.layers]
        elif spec.layer != "auto" and _has_layer(classes[name]):
            values[f"{name}.{LAYER}"] = [spec.layer]
        taken = STRENGTH if name not in supporting(stack, classes) else None
        values |= {f"{name}.{key}": texts for key, texts in given.items() if key != taken or not classes[name].dosed}
    return values


def _variant(stack: Stack, classes: Mapping[str, type[Method]], values: Mapping[str, str]) -> Variant:
    texts: dict[str, dict[str, str]] = {name: {} for name in stack.names}
    strengths = {}
    for key, text in values.items():
        name, _, setting = key.partition(".")
        if setting == STRENGTH:
            strengths[name] = parse_strength(classes[name], text, name)
        else:
            texts[name][setting] = text
    methods = {name: parse_settings(classes[name], given, name) for name, given in texts.items()}
    return Variant(stack, methods, strengths, ",".join(f"{key}={text}" for key, text in values.items()))


def _cells(spec: Specification, behavior: str, variants: Sequence[Variant]) -> list[Cell]:
    """The baseline and every cell of one behavior."""
    found = [Cell(behavior, BASELINE)]
    for variant in variants:
        # A sweep's cells name their layer, also where there is one: the report reads it there.
        alone = not variant.swept and sum(v.stack.label == variant.stack.label for v in variants) == 1
        dosed = any(method.dosed for method in variant.methods.values())
        fixed = [element.direction for element in variant.stack.elements]
        # Where every element fixes its direction, the run's would only repeat the cell.
        for direction in spec.directions if None in fixed else fixed[-1:]:
            for strength in spec.strengths if dosed else (1.0,):
                found.append(_cell(behavior, variant, direction, strength, "" if alone else variant.text))  # type: ignore[arg-type]
    return found


def _cell(behavior: str, variant: Variant, direction: Direction, strength: float, text: str) -> Cell:
    classes = {name: type(method) for name, method in variant.methods.items()}
    doses = resolve(variant.stack, classes, direction, strength, variant.strengths)
    fixed = {element.name for element in variant.stack.elements if element.direction is not None}
    elements = tuple(Element(d.name, variant.methods[d.name], d.direction, d.strength, d.name in fixed) for d in doses)
    return Cell(behavior, variant.stack.label, elements, direction, strength, text)


def _notes(plan: Plan) -> tuple[str, ...]:
    asked = {name: plan.asked(name) for name in plan.behaviors}
    if plan.knowledge is not None:
        asked[plan.knowledge.name] = plan.knowledge.items
    counted = {name: (sum(not item.parsed for item in items), len(items)) for name, items in asked.items()}
    return tuple(
        f"{name}: {unparsed} of {total} questions could not be parsed; they are evaluated as given, not swapped."
        for name, (unparsed, total) in counted.items()
        if unparsed
    )
