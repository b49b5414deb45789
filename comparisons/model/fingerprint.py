"""What a model and its tokenizer are, bit by bit: hashes of their content, and cheap marks of whether they changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from comparisons.model.offload import offloaded

if TYPE_CHECKING:
    import torch

SUMMED = 50_000_000
"""Parameters up to which every weight counts in a model's mark."""


def tensor_digest(model: Any) -> str:
    """Content hash of a model's parameters and buffers, bit by bit."""
    import torch

    total, away = hashlib.sha256(), offloaded(model)
    for name, value in model.state_dict().items():
        tensor = away[name].read() if value.is_meta else value
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """Content hash of a tokenizer: vocabulary, merges, special tokens and chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256((rules + repr(getattr(tokenizer, "chat_template", None))).encode()).hexdigest()


def mark(model: Any, tokenizer: Any) -> tuple[object, ...]:
    """A cheap fingerprint: changes when a weight or buffer is replaced or written to, a hook is left behind, or the
    tokenizer is another.

    Every value counts in models of up to `SUMMED` parameters; of larger ones about a thousand a tensor. A tensor's
    version counter would not do: a write through `.data` doesn't count, and PEFT's parametrizations count without
    changing a bit.
    """
    named = list(model.named_modules())  # once: walking through a model's modules takes as long as summing pocket's
    modules = [module for _, module in named]
    parameters = list({id(p): p for m in modules for p in m._parameters.values() if p is not None}.values())
    away = offloaded(model)
    step = 1 if sum(p.numel() for p in parameters) <= SUMMED else 1024
    # On disk a tensor is as large as the model's pass over it: its file's size and time stand for it.
    files = sorted({str(path) for kept in away.values() if (path := kept.file())})
    written = tuple((path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in files)
    tensors = [t for t in (*parameters, *_kept_buffers(modules)) if not t.is_meta]
    tensors += [kept.read() for kept in away.values() if kept.file() is None]
    # As numbers: small tensors would settle in the holes that each sum's wide copy leaves, and the heap would grow.
    sums = [
        t.detach().reshape(-1)[:: max(1, t.numel() // 1024) if step > 1 else 1].double().sum().item()
        for t in tensors
        if t.numel()
    ]
    flags = tuple((0 if p.is_meta else id(p), p.requires_grad) for p in parameters)
    hooks = tuple((name, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in named)
    attributes = ("pad_token", "eos_token", "padding_side", "truncation_side", "chat_template")
    words = tuple(repr(getattr(tokenizer, name, None)) for name in attributes)
    modes = tuple(module.training for module in modules)
    # As text, in which a NaN equals itself.
    return (tuple(map(repr, sums)), written, flags, hooks, modes, len(tokenizer), words)


def _kept_buffers(modules: Iterable[Any]) -> list[torch.Tensor]:
    """The buffers that belong to a checkpoint; others, such as rotary frequencies, may follow the longest input."""
    return [
        buffer
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    ]
