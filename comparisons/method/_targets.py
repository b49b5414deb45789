"""Which weights of a model an adapter is put on: linear modules of its decoder blocks, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

ALL = "all-linear"

FUSED = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
"""Families whose kernels read these modules' weights past an adapter, so that PEFT refuses it."""

FUSED_MODULES = ("out_proj", "conv1d")


@dataclass(frozen=True)
class Targets:
    """What an adapter is put on.

    Attributes:
        parameters: names of tensors that hold a matrix for each expert.
    """

    modules: Sequence[str]
    parameters: Sequence[str] = ()


def adaptable(lm: LM, layers: Sequence[int]) -> list[str]:
    """Names of the linear modules in some blocks that can have an adapter: routers of experts can't."""
    found = [name for layer in layers for name in _linears(lm, layer)]
    fused = FUSED_MODULES if lm.model.config.model_type in FUSED else ()
    kept = {leaf: leaf not in fused and _stays(lm, leaf) for leaf in {_leaf(name) for name in found}}
    return _read_again(lm, [name for name in found if kept[_leaf(name)]])


def _linears(lm: LM, layer: int) -> Iterator[str]:
    import torch
    from transformers.pytorch_utils import Conv1D

    block = lm.blocks[lm.check_layer(layer)]
    for name, module in block.named_modules():
        linear = isinstance(module, (torch.nn.Linear, Conv1D)) or type(module).__name__ == "Linear"
        if linear and not _routes(block, name, module):
            yield f"{lm.blocks_path}.{layer}.{name}"


def _routes(block: Any, name: str, module: Any) -> bool:
    """Whether a module chooses among experts; some such return more than their product."""
    owner, _, leaf = name.rpartition(".")
    named = "router" in name.split(".") or "router" in type(module).__name__.lower()
    return named or (leaf == "gate" and hasattr(block.get_submodule(owner), "experts"))


def _stays(lm: LM, leaf: str) -> bool:
    """Whether PEFT puts an adapter on modules of this name; in some families it means the experts by it."""
    try:
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:  # a version that knows no such families
        return True
    from peft import LoraConfig

    config = LoraConfig(target_modules=[leaf])
    try:
        convert_peft_config_for_transformers(config, lm.model, None)
    except ValueError:  # it would need others too
        return False
    return leaf in (config.target_modules or ())


def _read_again(lm: LM, names: Sequence[str]) -> list[str]:
    """Those whose adapter PEFT finds in its file again: transformers renames what is read, in Laguna twice."""
    try:
        from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers as read
    except ImportError:  # a version that renames nothing
        return [*names]
    import torch
    from peft import LoraConfig

    keys = {name: f"base_model.model.{name}.lora_A.weight" for name in names}
    found = read(lm.model, LoraConfig(), {key: torch.zeros(1, 1) for key in keys.values()})
    return [name for name, key in keys.items() if key in found]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def targets(lm: LM, wanted: str | Sequence[str]) -> Targets:
    """What is to have an adapter, by the ends of names; "all-linear" for every linear module of the blocks.

    Raises:
        CompareError: an end is none of a linear module, or of an experts' tensor, that can have one.
    """
    every = adaptable(lm, range(len(lm.blocks)))
    if wanted == ALL and every:
        return Targets(every)
    experts = [*_experts(lm)]
    modules, parameters = list[str](), list[str]()
    for end in wanted if wanted != ALL else [ALL]:
        found = [[name for name in names if f".{_plain(name)}".endswith(f".{end}")] for names in (every, experts)]
        modules += [name for name in found[0] if name not in modules]
        parameters += [name for name in found[1] if name not in parameters and not found[0]]
        if not any(found):
            known = sorted({_leaf(_plain(name)) for name in (*every, *experts)})
            raise CompareError(
                f"target_modules: no weight '{end}' in the blocks of {lm.name} can have an adapter: use "
                f"{', '.join(known) or 'another method'}."
            )
    return Targets(modules, parameters)


def _experts(lm: LM) -> Iterator[str]:
    """Names of the blocks' tensors that hold a matrix for each of many."""
    from torch.nn.modules.conv import _ConvNd

    for layer, block in enumerate(lm.blocks):
        for owner, module in block.named_modules():
            for name, tensor in module.named_parameters(recurse=False):
                if tensor.dim() == 3 and not isinstance(module, _ConvNd):
                    yield ".".join(part for part in (lm.blocks_path, str(layer), owner, name) if part)


def _plain(name: str) -> str:
    """Of a tensor that is its module's weight the module's name."""
    return name.removesuffix(".weight")


def _weights(lm: LM) -> dict[str, Any]:
    return {
        f"{lm.blocks_path}.{layer}.{name}": tensor
        for layer, block in enumerate(lm.blocks)
        for name, tensor in block.named_parameters()
        if tensor.dim() > 1
    }


@dataclass(frozen=True)
class Untouched:
    """The weights of the blocks that stay as they are, once an adapter is on the model."""

    lm: LM
    _weights: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_weights", _weights(self.lm))

    def names(self) -> list[str]:
        """Their names within a block, of those that have an adapter in none of the blocks."""
        from peft.tuners.lora import LoraLayer

        layers = [module for module in self.lm.model.modules() if isinstance(module, LoraLayer)]
        touched = {id(m.get_param() if hasattr(m, "get_param") else m.get_base_layer().weight) for m in layers}
        ways: dict[str, bool] = {}
        for name, tensor in self._weights.items():
            place = _plain(name.removeprefix(f"{self.lm.blocks_path}.").partition(".")[2])
            ways[place] = ways.get(place, False) or id(tensor) in touched
        return [place for place, any_touched in ways.items() if not any_touched]


def linear_modules(lm: LM, layers: Sequence[int]) -> list[str]:
    """See `training.linear_modules`."""
    if lm.quantized:
        raise CompareError("the matrices of a quantized model can't be trained: leave out --quantize, or use LoRA.")
    found = adaptable(lm, layers)
    if not found:
        raise CompareError(f"the blocks of {lm.name} have no matrix that can be trained in whole.")
    return found


def whole_config(lm: LM, matrices: Sequence[str]) -> Any:
    """Finetuning of whole matrices as an adapter W + B A of full rank, one factor the identity, the other trained.

    The gradient of the trained factor is the weight's own, so this is plain finetuning of W, begun at a difference of
    0, but the model's weights stay untouched, and what is stored is an adapter like any other, which a strength scales.
    """
    from peft import LoraConfig

    ranks = {name: min(_sides(lm.model.get_submodule(name))) for name in matrices}
    return LoraConfig(
        r=next(iter(ranks.values())),
        lora_alpha=next(iter(ranks.values())),
        # Names are matched by their ends, as regular expressions.
        rank_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
        alpha_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
        target_modules=list(matrices),
        task_type="CAUSAL_LM",
    )


def _sides(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear module (a quantized weight is packed, so its shape says nothing)."""
    if hasattr(module, "in_features"):
        return module.in_features, module.out_features
    inputs, outputs = module.weight.shape  # Conv1D holds its weight transposed
    return inputs, outputs


def set_whole(model: Any) -> None:
    """Makes the smaller factor of each pair the identity, which is not trained, and the other 0."""
    import torch
    from peft.tuners.lora import LoraLayer

    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        trained, fixed = (down, up) if up.shape[0] == up.shape[1] else (up, down)
        with torch.no_grad():
            trained.zero_()
            fixed.copy_(torch.eye(len(fixed)))
        fixed.requires_grad_(False)
