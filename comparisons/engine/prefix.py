"""Prompts in a cache: read once, shared by all that begin alike."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from comparisons.engine import shared_prompt
from comparisons.engine.hooks import stopping_after
from comparisons.engine.plan import Family, Tokens
from comparisons.model.lm import LM

LEAST_CHUNK = 256
"""Tokens of a row that are always read at once: of shorter chunks there would be too many."""

EAGER_CHUNK = 512
"""Tokens that are read at once where attention holds a number for each two of them, several times over."""


@dataclass(frozen=True)
class Prefix:
    """The keys and values of some rows of tokens, which may have holes.

    Attributes:
        layers: the keys and values of each block that has run, [rows, heads, columns, size].
        position: the logical position of each column, [rows, columns].
        valid: whether a column is a token of its row, bool [rows, columns].
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    position: torch.Tensor
    valid: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens of each row."""
        return self.valid.sum(dim=1)

    def rows(self, index: Sequence[int]) -> Prefix:
        """The same for other rows, each a copy of one of these."""
        if list(index) == list(range(len(self.valid))):
            return self
        chosen = torch.tensor(index, device=self.valid.device)
        layers = tuple((keys[chosen.to(keys.device)], values[chosen.to(keys.device)]) for keys, values in self.layers)
        return Prefix(layers, self.position[chosen], self.valid[chosen])

    def cache(self, kept: bool, shared: bool = False) -> Any:
        """A cache for one forward pass behind these rows, whose tensors stay as they are.

        Args:
            kept: whether it keeps what the pass adds; else that is gone when its layer has run, and several times as
                many rows may stand behind it, these again and again.
            shared: whether what stands behind them attends to them where they are (`shared_prompt`), instead of copies.
        """
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        class PassingLayer(DynamicLayer):  # type: ignore[misc]
            def update(self, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
                join = shared_prompt.behind if shared else _behind
                return join(self.keys, keys), join(self.values, values)

        # Without a configuration: a cache made from one truncates its sliding layers to the window.
        cache = DynamicCache()
        for keys, values in self.layers:
            layer = DynamicLayer() if kept else PassingLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        return cache


def _behind(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """New keys or values behind those of their rows, which are repeated where they are fewer."""
    if len(old) == len(new):
        return torch.cat([old, new], dim=-2)
    columns = old.shape[-2]
    joined = new.new_empty(*new.shape[:-2], columns + new.shape[-2], new.shape[-1])
    joined.view(-1, *old.shape[:-2], *joined.shape[-2:])[..., :columns, :] = old
    joined[..., columns:, :] = new
    return joined


def no_prefix(lm: LM, rows: int) -> Prefix:
    """Rows without a token."""
    nothing = torch.zeros(rows, 0, dtype=torch.long, device=lm.device)
    return Prefix((), nothing, nothing.bool())


def read(lm: LM, prefix: Prefix, more: Sequence[Tokens], stop_after: int | None) -> Prefix:
    """Reads further tokens of each row, in one forward pass, or chunk by chunk where they are many.

    Args:
        lm: the model.
        prefix: what has been read.
        more: the tokens of each row; may be of different lengths, none included.
        stop_after: the last block whose output is wanted; None for all.
    """
    longest = max(map(len, more))
    if longest == 0:
        return prefix
    chunk = prefill_chunk(lm, len(more))
    for start in range(0, longest, chunk):
        prefix = _read_at_once(lm, prefix, [row[start : start + chunk] for row in more], stop_after)
    return prefix


def _read_at_once(lm: LM, prefix: Prefix, more: Sequence[Tokens], stop_after: int | None) -> Prefix:
    longest = max(map(len, more))
    ids = torch.tensor([[*row, *[row[-1] if row else 0] * (longest - len(row))] for row in more], device=lm.device)
    offset = torch.arange(longest, device=lm.device).expand(len(more), -1)
    valid = offset < torch.tensor([len(row) for row in more], device=lm.device)[:, None]
    position = prefix.lengths[:, None] + offset
    # Pads come last, where causality hides them from every token of their row: no mask makes attention faster.
    causal = offset[0][:, None] >= offset[0]
    mask = packed_mask(lm, prefix, position, causal) if prefix.layers else torch.ones_like(ids)
    cache = prefix.cache(kept=True)
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": position,
        lm.cache_argument: cache,
        "use_cache": True,
        **keep_logits(lm, torch.tensor([longest - 1], device=lm.device)),
    }
    lm.meter.add(ids.numel())
    with stopping_after(lm, stop_after):
        lm.model(**inputs)
    return Prefix(
        tuple((layer.keys, layer.values) for layer in cache.layers),
        torch.cat([prefix.position, position], dim=1),
        torch.cat([prefix.valid, valid], dim=1),
    )


def prefill_chunk(lm: LM, rows: int) -> int:
    """How many tokens of each of so many rows are read in one pass: memory follows the token budget, not the prompt."""
    most = max(LEAST_CHUNK, lm.token_budget // rows)
    return min(most, max(LEAST_CHUNK, EAGER_CHUNK // rows)) if lm.config._attn_implementation == "eager" else most


def read_families(
    lm: LM, head: Prefix, families: Sequence[Family], prefixes: Sequence[Tokens], stop_after: int | None
) -> Prefix:
    """Reads the prompts of some families behind the beginning that all prompts share.

    Args:
        lm: the model.
        head: that beginning, one row.
        families: the prompts to read.
        prefixes: the shared tokens of every prompt, from its start.
        stop_after: the last block whose output is wanted; None for all.

    Returns:
        A row a prompt, in the families' order.
    """
    shared = int(head.lengths[0])
    stems = read(lm, head.rows([0] * len(families)), [family.stem for family in families], stop_after)
    rows = [(row, shared + len(family.stem), i) for row, family in enumerate(families) for i in family.members]
    return read(lm, stems.rows([row for row, _, _ in rows]), [prefixes[i][start:] for _, start, i in rows], stop_after)


def packed_mask(
    lm: LM, prefix: Prefix, position: torch.Tensor, among: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The 4-D mask of new tokens behind a prefix.

    Args:
        lm: the model; its configuration says which layers have sliding windows, or chunks (Llama 4), which a 4-D mask
            must build in.
        prefix: what they stand behind, all of which they see.
        position: their logical positions, [rows, tokens].
        among: which of them see which, bool [tokens, tokens].

    Returns:
        [rows, 1, tokens, columns + tokens], bool or additive as the attention takes it; by layer type where the
        model mixes types.
    """
    rows, tokens = position.shape
    before = prefix.valid[:, None, :].expand(-1, tokens, -1)
    allowed = torch.cat([before, among.expand(rows, -1, -1)], dim=-1)
    return attention_mask(lm, allowed, position, torch.cat([prefix.position, position], dim=1))


def attention_mask(
    lm: LM, allowed: torch.Tensor, position: torch.Tensor, key: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The 4-D mask of new tokens over all columns, as `packed_mask` returns it.

    Args:
        lm: the model.
        allowed: which columns each token may see, bool [rows, tokens, columns].
        position: the tokens' logical positions, [rows, tokens].
        key: the columns', [rows, columns].
    """
    window = getattr(lm.config, "sliding_window", None)
    near = allowed if window is None else allowed & (position[:, :, None] - key[:, None, :] < window)
    types = set(getattr(lm.config, "layer_types", None) or ())
    if not types:
        return _as_taken(lm, near)
    chunk = getattr(lm.config, "attention_chunk_size", None)
    same = allowed if not chunk else allowed & (position[:, :, None] // chunk == key[:, None, :] // chunk)
    seen = {"sliding_attention": near, "chunked_attention": same}
    masks = {kind: _as_taken(lm, seen.get(kind, allowed)) for kind in types}
    return masks if len(types) > 1 else next(iter(masks.values()))


def _as_taken(lm: LM, allowed: torch.Tensor) -> torch.Tensor:
    """Eager attention adds its mask; the others take a bool, which on a CPU each layer would turn into numbers."""
    if lm.config._attn_implementation != "eager" and lm.device.type != "cpu":
        return allowed[:, None]
    dtype = lm.model.get_input_embeddings().weight.dtype
    blocked = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return blocked.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def keep_logits(lm: LM, columns: torch.Tensor) -> dict[str, torch.Tensor]:
    """The argument that has the model compute logits at some columns only, where it knows one."""
    names = inspect.signature(lm.model.forward).parameters
    return {"logits_to_keep": columns} if "logits_to_keep" in names else {}
