"""What rounding does to a model's numbers: the same weights computed in float32, and rounding at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from comparisons.model.lm import LM
from comparisons.model.offload import is_offloaded
from comparisons.util.memory import available_memory

ROOM = 0.8
"""Share of the memory that is free which a float32 copy of the weights may take."""


def is_coarse(lm: LM) -> bool:
    """Whether the model computes in 16 bits, or is quantized, so that its numbers differ from float32's."""
    return lm.quantized or lm.embeddings.dtype in (torch.bfloat16, torch.float16)


def can_widen(lm: LM) -> bool:
    """Whether its weights can be had in float32 too: they are neither quantized nor offloaded, and fit the memory."""
    if lm.quantized or is_offloaded(lm.model):
        return False
    needed = 4 * sum(tensor.numel() for tensor in _coarse(lm.model))
    free = torch.cuda.mem_get_info(lm.device)[0] if lm.device.type == "cuda" else available_memory()
    return free is None or needed <= ROOM * free


@contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Computes with the same weights in float32 while the context lasts; then they are what they were, bit by bit."""
    kept = [(tensor, tensor.data) for tensor in _coarse(model)]
    try:
        for tensor, data in kept:
            tensor.data = data.float()
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data


def _coarse(model: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers of fewer bits than float32."""
    return [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point() and t.element_size() < 4]


@contextmanager
def rounded_at_random(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Moves every output of the modules within by up to half a unit in its last place, while the context lasts.

    Not the output layer's, whose product is float32 (`engine.head`).
    """
    generator = torch.Generator().manual_seed(seed)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        by = torch.rand(value.shape, generator=generator).to(value.device) - 0.5
        return (value.float() * (1 + torch.finfo(value.dtype).eps * by)).to(value.dtype)

    def hook(module: torch.nn.Module, args: Any, output: Any) -> Any:
        return tuple(map(moved, output)) if isinstance(output, tuple) else moved(output)

    with ExitStack() as stack:
        last = model.get_output_embeddings()  # type: ignore[operator]
        for module in model.modules():
            if module is not last and not any(True for _ in module.children()):
                stack.callback(module.register_forward_hook(hook).remove)
        yield
