"""Forward passes over prompts and their branches: packed behind a shared prefix, or one row each.

Packed (the fast way): the prompts' shared tokens run once into a cache; then all branches of a prompt stand in one
sequence behind it, their position ids restart at the branch point, and a 4-D mask lets a branch see the prompt
and itself. Rows (the fallback, and the way of edits that touch the prompt): each branch is a sequence of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from comparisons.engine.hooks import stopping_after
from comparisons.engine.layout import Layout
from comparisons.engine.plan import MAX_BRANCH_TOKENS, Sequences
from comparisons.intervention import Edit
from comparisons.lm import LM


@dataclass(frozen=True)
class Pass:
    """One forward pass that is ready to run.

    Attributes:
        inputs: keyword arguments of the model.
        layout: the logical place of each token.
        edits: the edits of each owner in `layout`.
        columns: the columns that end a branch.
        pairs: [batch, columns, 2]: prompt and branch that end there.
    """

    inputs: dict[str, Any]
    layout: Layout
    edits: list[list[Edit]]
    columns: torch.Tensor
    pairs: torch.Tensor


def packed_passes(lm: LM, batch: Sequences, stop_after: int | None = None) -> Iterator[Pass]:
    """Runs the prefixes into a cache, then yields a pass for each chunk of branches.

    Args:
        lm: the model.
        batch: prompts and branches.
        stop_after: the last block whose output is wanted, where logits are not.
    """
    from transformers import DynamicCache

    # Without a config: a cache made from one truncates its sliding layers to the window.
    cache = DynamicCache()
    lengths = torch.tensor([len(prefix) for prefix in batch.prefixes], device=lm.device)
    longest = int(lengths.max())
    if longest:
        _prefill(lm, batch, lengths, cache, stop_after)
    size = max(1, MAX_BRANCH_TOKENS // batch.tail_length)
    branches = range(len(batch.edits))
    for start in branches[::size]:
        chunk = list(branches[start : start + size])
        yield _branch_pass(lm, batch, lengths, cache, chunk)
        if longest:
            cache.crop(-len(chunk) * batch.tail_length)
        else:
            cache = DynamicCache()


def _prefill(lm: LM, batch: Sequences, lengths: torch.Tensor, cache: Any, stop_after: int | None) -> None:
    longest = int(lengths.max())
    ids = torch.tensor([[*p, *[p[-1] if p else 0] * (longest - len(p))] for p in batch.prefixes])
    positions = torch.arange(longest, device=lm.device).expand(len(ids), -1)
    inputs = {
        "input_ids": ids.to(lm.device),
        "attention_mask": (positions < lengths[:, None]).long(),
        "position_ids": positions,
        "past_key_values": cache,
        "use_cache": True,
        **keep_logits(lm, torch.tensor([longest - 1], device=lm.device)),
    }
    lm.on_tokens(ids.numel())
    with stopping_after(lm, stop_after):
        lm.model(**inputs)


def _branch_pass(lm: LM, batch: Sequences, lengths: torch.Tensor, cache: Any, branches: list[int]) -> Pass:
    count, size, rows = len(branches), batch.tail_length, len(batch.prefixes)
    device = lm.device
    ids = torch.tensor([[t for b in branches for t in tails[b]] for tails in batch.tails], device=device)
    offset = torch.arange(size, device=device).repeat(count)
    owner = torch.arange(count, device=device).repeat_interleave(size)
    position = lengths[:, None] + offset
    longest = int(lengths.max())
    columns = torch.arange(size - 1, count * size, size, device=device)
    inputs = {
        "input_ids": ids,
        "attention_mask": branch_mask(lm, lengths, longest, position, owner),
        "position_ids": position,
        "past_key_values": cache,
        "use_cache": True,
        **keep_logits(lm, columns),
    }
    layout = Layout(
        owner=owner.expand(rows, -1),
        position=position,
        relative=offset.expand(rows, -1),
        last=(offset == size - 1).expand(rows, -1),
    )
    lm.on_tokens(ids.numel())
    prompt = torch.arange(rows)[:, None].expand(-1, count)
    pairs = torch.stack([prompt, torch.tensor(branches).expand(rows, -1)], dim=-1)
    return Pass(inputs, layout, [list(batch.edits[b]) for b in branches], columns, pairs)


def branch_mask(
    lm: LM, lengths: torch.Tensor, longest: int, position: torch.Tensor, owner: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The 4-D mask of a branch pass: each token sees its prompt and what came before it in its own branch.

    Args:
        lm: the model; its configuration says which layers have sliding windows, which a 4-D mask must build in.
        lengths: tokens of each prompt's prefix, [batch].
        longest: columns of the cached prefixes.
        position: logical positions of the branch tokens, [batch, tokens].
        owner: branch of each token, [tokens].

    Returns:
        [batch, 1, tokens, longest + tokens], bool or additive as the attention takes it; by layer type where
        the model mixes types.
    """
    before = torch.arange(longest, device=position.device).expand(len(lengths), -1)
    key_position = torch.cat([before, position], dim=1)
    tokens = position.shape[1]
    in_prompt = (before < lengths[:, None])[:, None, :].expand(-1, tokens, -1)
    index = torch.arange(tokens, device=position.device)
    in_branch = (owner[:, None] == owner[None, :]) & (index[:, None] >= index[None, :])
    full = torch.cat([in_prompt, in_branch.expand(len(lengths), -1, -1)], dim=-1)
    return for_layer_types(lm, full, position, key_position)


def for_layer_types(
    lm: LM, allowed: torch.Tensor, query: torch.Tensor, key: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Adds sliding windows to a mask [batch, query, key] and puts it in the form the model's attention takes."""
    window = getattr(lm.config, "sliding_window", None)
    types = set(getattr(lm.config, "layer_types", None) or ())
    near = allowed if window is None else allowed & (query[:, :, None] - key[:, None, :] < window)
    if not types or types == {"sliding_attention"}:
        return _attention_form(lm, near)
    if types == {"full_attention"}:
        return _attention_form(lm, allowed)
    masks = {"full_attention": allowed, "sliding_attention": near}
    return {kind: _attention_form(lm, masks[kind]) for kind in types}


def _attention_form(lm: LM, allowed: torch.Tensor) -> torch.Tensor:
    # Used as it is: eager attention adds the mask, sdpa takes a bool one.
    if lm.model.config._attn_implementation != "eager":
        return allowed[:, None]
    dtype = lm.model.get_input_embeddings().weight.dtype
    blocked = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return blocked.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def row_passes(lm: LM, batch: Sequences, rows: int) -> Iterator[Pass]:
    """Yields passes of up to `rows` whole sequences, left-padded, each with the edits of its own branch."""
    every = [(p, b) for p in range(len(batch.prefixes)) for b in range(len(batch.edits))]
    for start in range(0, len(every), rows):
        yield _row_pass(lm, batch, every[start : start + rows])


def _row_pass(lm: LM, batch: Sequences, pairs: list[tuple[int, int]]) -> Pass:
    device, size = lm.device, batch.tail_length
    sequences = [[*batch.prefixes[p], *batch.tails[p][b]] for p, b in pairs]
    longest = max(map(len, sequences))
    pad = torch.tensor([longest - len(s) for s in sequences], device=device)[:, None]
    ids = torch.tensor([[s[0]] * (longest - len(s)) + s for s in sequences], device=device)
    column = torch.arange(longest, device=device)
    position = (column - pad).clamp(min=0)
    real = column >= pad
    inputs = {
        "input_ids": ids,
        "attention_mask": real.long(),
        "position_ids": position,
        "use_cache": False,
        **keep_logits(lm, torch.tensor([longest - 1], device=device)),
    }
    owner = torch.arange(len(pairs), device=device)[:, None].expand(-1, longest)
    layout = Layout(
        owner=torch.where(real, owner, -1),
        position=position,
        relative=(column - (longest - size)).expand(len(pairs), -1),
        last=(column == longest - 1).expand(len(pairs), -1),
    )
    lm.on_tokens(ids.numel())
    edits = [list(batch.edits[b]) for _, b in pairs]
    return Pass(inputs, layout, edits, torch.tensor([longest - 1], device=device), torch.tensor(pairs)[:, None])


def keep_logits(lm: LM, columns: torch.Tensor) -> dict[str, torch.Tensor]:
    """The argument that has the model compute logits at some columns only, where it knows one."""
    names = inspect.signature(lm.model.forward).parameters
    return {"logits_to_keep": columns} if "logits_to_keep" in names else {}


def kept(logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Logits at `columns`, from a model that computed those alone or all."""
    return logits if logits.shape[1] == len(columns) else logits[:, columns]
