"""What a sweep is: a run whose stacks stand at many layers, by default evaluated on dev."""

from __future__ import annotations

from dataclasses import fields, replace

from comparisons.experiment.specification import LAYER, Specification
from comparisons.method.interface import Method
from comparisons.method.registry import Registry
from comparisons.method.stacks import parse_stack
from comparisons.model.loading import load_without_weights
from comparisons.running.planning import swept_method
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_parts, layers_within


def sweep_specification(spec: Specification, layers: str) -> Specification:
    """The specification of a sweep, with its stacks and layers filled in.

    Args:
        spec: the rest; without stacks every method is swept that has a layer and one fit for all of them, controls
            aside.
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


def _fits_each_layer(cls: type[Method]) -> bool:
    return cls.fits != "never" and any(f.name == LAYER and not f.metadata.get("use_only") for f in fields(cls))


def _stacks(spec: Specification) -> tuple[str, ...]:
    """The stacks as typed, or every method with a layer."""
    registry = Registry(spec.plugins)
    if not spec.stacks:
        found = tuple(
            info.name
            for info in registry.describe()
            if info.role == "method"
            and any(setting.name == LAYER for setting in info.settings)
            # One that is fitted anew for each layer is swept where it is named.
            and not _fits_each_layer(registry.get(info.name))
        )
        if not found:
            raise CompareError(f"no method has a setting '{LAYER}' that its fit doesn't need: name one by --methods.")
        return found
    stacks = [parse_stack(text) for text in spec.stacks]
    classes = {name: registry.get(name) for stack in stacks for name in stack.names}
    if not any(swept_method(stack, classes) for stack in stacks):
        raise CompareError(f"none of {', '.join(spec.stacks)} has a setting '{LAYER}': name a stack that has one.")
    return spec.stacks
