"""Attention of many rows to a prompt that they share, whose keys and values are not copied for each of them.

A softmax over a row's columns is the one over the prompt's and the one over its own, weighted by their sums: Juravsky
et al. (2024), Hydragen: High-Throughput LLM Inference with Shared Prefixes, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from comparisons.model.lm import LM

NAME = "shared_prompt"
"""What the attention is called among transformers'."""

LEAST_LONGER = 3
"""Times a tail's tokens that a prompt must have: behind a shorter one two attentions take longer than the copies."""

_attention: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""PyTorch's on a CPU, with the logarithms of the sums, which its public function keeps to itself."""


def may_share(lm: LM) -> bool:
    """Whether the model's attention can be replaced by this one, and gains by it: in 16 bits copies take no longer.

    A trial says whether it comes to the same.
    """
    plain = lm.config._attn_implementation == "sdpa" and getattr(lm.model, "_supports_attention_backend", False)
    here = lm.device.type == "cpu" and lm.embeddings.dtype == torch.float32
    return bool(plain and here and _attention is not None)


@contextmanager
def sharing(lm: LM) -> Iterator[None]:
    """Has rows attend to prompts that they share while the context lasts; see `Prefix.cache`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    before = lm.config._attn_implementation
    lm.config._attn_implementation = NAME
    try:
        yield
    finally:
        lm.config._attn_implementation = before


def behind(prompt: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """New keys or values of rows that know those of their prompts.

    Args:
        prompt: of the prompts, [prompts, heads, columns, size].
        own: of the rows, copy after copy, [copies * prompts, heads, tokens, size].
    """
    own.prompt = prompt  # type: ignore[attr-defined]
    return own


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each row to its prompt and to itself, as transformers calls it.

    Args:
        query: [rows, query heads, tokens, size].
        key: [rows, heads, tokens, size], by `behind`.
        value: the same.
        attention_mask: [rows, 1, tokens, columns + tokens], added to the scores.

    Returns:
        [rows, tokens, query heads, size], and no weights.
    """
    if any(given.get(name) is not None for name in ("position_bias", "softcap", "s_aux")):
        raise ValueError("rows share a prompt only where a mask says all that attention does.")
    prompt_key, prompt_value = key.prompt, value.prompt  # type: ignore[attr-defined]
    prompts, heads, columns, _ = prompt_key.shape
    rows, every, tokens, size = query.shape
    # Query heads of one head of keys stand as tokens behind each other, and so do the copies of a prompt.
    copies, each = rows // prompts, every // heads
    queries = query.reshape(rows, heads, each * tokens, size)
    grouped = queries.view(copies, prompts, heads, each * tokens, size).permute(1, 2, 0, 3, 4)
    mask = attention_mask.expand(rows, each, tokens, -1)
    before = mask[..., :columns].view(copies, prompts, each, tokens, columns).transpose(0, 1)
    grouped, before = grouped.reshape(prompts, heads, -1, size), before.reshape(prompts, 1, -1, columns)
    there, there_sum = _attention(grouped, prompt_key, prompt_value, attn_mask=before, scale=scaling)
    own_mask = mask[..., columns:].reshape(rows, 1, each * tokens, tokens)
    own, own_sum = _attention(queries, key, value, attn_mask=own_mask, scale=scaling)
    there = there.view(prompts, heads, copies, each * tokens, -1).permute(2, 0, 1, 3, 4)
    there_sum = there_sum.view(prompts, heads, copies, -1).permute(2, 0, 1, 3)
    share = torch.sigmoid(there_sum - own_sum.view(there_sum.shape))[..., None]
    both = torch.lerp(own.view(there.shape), there, share)
    return both.reshape(rows, every, tokens, -1).transpose(1, 2).contiguous(), None
