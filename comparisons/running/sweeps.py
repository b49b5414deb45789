"""What a sweep varies, and its specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from comparisons.experiment.specification import LAYER, Specification
from comparisons.method.interface import Method
from comparisons.method.registry import Registry
from comparisons.method.stacks import Stack, parse_stack
from comparisons.model.loading import load_without_weights
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_parts, layers_within


def swept_method(stack: Stack, classes: Mapping[str, type[Method]]) -> str | None:
    """The method of a stack whose layer a sweep varies: the last that has one; None where none has."""
    return next((name for name in reversed(stack.names) if has_layer(classes[name])), None)


def has_layer(cls: type[Method]) -> bool:
    """Whether a method has a setting that names a block."""
    return LAYER in {f.name for f in fields(cls)}


def sweep_specification(spec: Specification, layers: str) -> Specification:
    """The specification of a sweep, with its stacks and layers filled in.

    Args:
        spec: the rest; without stacks the methods are swept that say so, controls aside.
        layers: "all", "A-B", "N", or several of these with commas; what they name together is swept.

    Raises:
        CompareError: the layers can't be read or aren't blocks of the model, or there is nothing to sweep.
    """
    if spec.more_models:
        raise CompareError("a sweep is of one model, whose layers it varies: sweep each, and compare their tables.")
    parts = layer_parts(layers)
    stacks = _stacks(spec)
    # The configuration alone says how many blocks there are: nothing is downloaded or written for a mistake.
    blocks = len(load_without_weights(spec.model).blocks)
    return replace(spec, stacks=stacks, layers=layers_within(parts, blocks, spec.model.name))


def _stacks(spec: Specification) -> tuple[str, ...]:
    """The stacks as typed, or those that a sweep takes."""
    registry = Registry(spec.plugins)
    if not spec.stacks:
        named = [info.name for info in registry.describe() if info.role == "method"]
        if not (swept := tuple(name for name in named if registry.get(name).swept)):
            raise CompareError("no method is swept without being named: name one by --methods.")
        return swept
    stacks = [parse_stack(text) for text in spec.stacks]
    classes = {name: registry.get(name) for stack in stacks for name in stack.names}
    if not any(swept_method(stack, classes) for stack in stacks):
        raise CompareError(f"none of {', '.join(spec.stacks)} has a setting '{LAYER}': name a stack that has one.")
    return spec.stacks
