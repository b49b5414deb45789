"""LoRA's y = x (W + s B A)ᵀ as one product with the summed matrix, where PEFT adds x Wᵀ and s (x Aᵀ) Bᵀ.

W + s B A takes about rank / tokens of a product's operations. What is spared is not operations but passes over memory:
of outputs that are scaled and added, and of their gradients, which on a CPU cost a small model as much as the products.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear


class _Summed(torch.autograd.Function):
    """x (W + s B A)ᵀ + bias for x [..., inputs], W [outputs, inputs], B [outputs, rank], A [rank, inputs]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fixed: tuple[Any, ...], down: torch.Tensor, up: torch.Tensor) -> Any:
        weight, bias, scale = fixed
        ctx.fixed = fixed
        ctx.save_for_backward(x, down, up)
        return linear(x, torch.addmm(weight, up, down, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (x, down, up), (weight, _, scale) = ctx.saved_tensors, ctx.fixed
        rows, gradients = x.flatten(0, -2), gradient.flatten(0, -2)
        inner = gradients @ (up * scale)
        to_inputs = gradient @ torch.addmm(weight, up, down, alpha=scale) if ctx.needs_input_grad[0] else None
        return to_inputs, None, inner.T @ rows, (linear(rows, down * scale).T @ gradients).T


def sum_matrices(model: torch.nn.Module) -> None:
    """Has the adapter's layers in float32 on plain linear layers compute so; the others stay PEFT's.

    In narrower types the sum would round the adapter's part away.
    """
    from peft.tuners.lora import Linear

    for layer in model.modules():
        if type(layer) is Linear and _suits(layer):
            layer.forward = partial(_forward, layer)


def _suits(layer: Any) -> bool:
    base, (name,) = layer.base_layer, layer.active_adapters
    plain = type(base) is torch.nn.Linear and "forward" not in vars(base) and not base.weight.requires_grad
    plain = plain and base.weight.dtype == torch.float32 and not base.weight.is_meta
    return plain and isinstance(layer.lora_dropout[name], torch.nn.Identity) and name not in layer.lora_variant


def _forward(layer: Any, x: torch.Tensor) -> Any:
    base, (name,) = layer.base_layer, layer.active_adapters
    fixed = (base.weight, base.bias, layer.scaling[name])
    return _Summed.apply(x, fixed, layer.lora_A[name].weight, layer.lora_B[name].weight)  # type: ignore[no-untyped-call]
