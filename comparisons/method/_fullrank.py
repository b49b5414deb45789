"""Finetuning of whole matrices as an adapter of full rank: W + B A, one factor the identity, the other trained.

The gradient of the trained factor is the weight's own, so this is plain finetuning of W, begun at a difference of 0,
but the model's weights stay untouched, and what is stored is an adapter like any other, which a strength can scale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from comparisons.method._targets import adaptable
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError


def linear_modules(lm: LM, layers: Sequence[int]) -> list[str]:
    """See `training.linear_modules`."""
    if lm.quantized:
        raise CompareError("the matrices of a quantized model can't be trained: leave out --quantize, or use LoRA.")
    found = adaptable(lm, layers)
    if not found:
        raise CompareError(f"the blocks of {lm.name} have no matrix that can be trained in whole.")
    return found


def whole_config(lm: LM, matrices: Sequence[str]) -> Any:
    """A LoRA configuration whose rank is each matrix's smaller side, and whose scale is 1."""
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
