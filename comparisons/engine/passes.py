"""Forward passes over prompts and their branches: packed behind a shared prefix, or one row each.

Packed (the fast way): the prompts' shared tokens are read once; then all branches of a prompt stand in one sequence
behind them, their position ids restart at the branch point, and a 4-D mask lets a branch see the prompt and itself.
Long branches, which would spend more on attention among each other than on copies of the cache, are rows behind it; on
a CPU they read a long prompt's where it is.
Rows (the fallback, and the way of edits that touch the prompt): each branch is a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from comparisons.engine.conditions import Tokens
from comparisons.engine.hooks import Layout, captured, edits_applied, stopping_after
from comparisons.engine.late_branches import LateBranches, arrange, growing
from comparisons.engine.plan import Branch, Sequences
from comparisons.engine.prefix import Prefix, keep_logits, packed_mask
from comparisons.engine.shared_prompt import LEAST_LONGER, sharing
from comparisons.intervention import Edit
from comparisons.model.lm import LM, MAX_BRANCH_TOKENS

COPY_COST = 16
"""Attention of one token to another, in the time of which one token's keys and values are copied; on a CPU."""

COPIED = 8
"""Tokens whose keys and values are copied at once, to a token of the budget, whose activations are larger."""


Way = Literal["one row", "copies", "shared"]
"""How a prompt's branches stand behind its keys and values: all in one row, or each a row behind a copy of these, or
behind these themselves."""


@dataclass(frozen=True)
class Pass:
    """One forward pass that is ready to run inside `in_place`.

    Attributes:
        inputs: keyword arguments of the model.
        layout: the logical place of each token, once all copies have joined.
        edits: the edits of each owner in `layout`.
        growth: the copies of the tails.
        dim: 1 where a copy is a run of tokens, 0 where it is a run of rows.
        shared: whether rows attend to their prompts where these are.
        columns: the columns whose output is wanted.
        wanted: [rows, columns, 3]: prompt, branch and place in the tail of each output; a branch of -1 is none.
    """

    inputs: dict[str, Any]
    layout: Layout
    edits: Sequence[Sequence[Edit]]
    growth: LateBranches
    dim: int
    columns: torch.Tensor
    wanted: torch.Tensor
    shared: bool = False

    @contextmanager
    def in_place(self, lm: LM) -> Iterator[None]:
        """Lets the branches join and be edited while the context lasts."""
        ids = self.inputs["input_ids"]
        size = ids.shape[self.dim] // self.growth.first
        # Tokens are counted as whole ones: one that joins halfway up is half a token.
        lm.meter.add(round(ids.numel() / self.growth.first * sum(self.growth.counts[:-1]) / len(lm.blocks)))
        edits = edits_applied(lm, self.layout, self.edits, standing=self._standing)
        with growing(lm, self.growth, self.dim, size), edits, sharing(lm) if self.shared else nullcontext():
            yield

    def _standing(self, tokens: Tokens, layer: int) -> Tokens:
        """Where tokens of the layout are in a block's output: of a copy that joins later, its source's."""
        size = self.inputs["input_ids"].shape[self.dim] // self.growth.first
        at = list(tokens)
        copies = self._copies(layer).to(at[self.dim].device)
        at[self.dim] = copies[at[self.dim] // size] * size + at[self.dim] % size
        return at[0], at[1]

    def _copies(self, layer: int) -> torch.Tensor:
        """For each copy, which one stands for it in a block's output: its source, where it joins later."""
        there, sources = self.growth.counts[layer + 1], self.growth.sources
        return torch.tensor([c if c < there else sources[c] for c in range(len(sources))])

    def read(self, hidden: torch.Tensor, layer: int) -> torch.Tensor:
        """What is wanted of a block's output, [rows, columns, width]: of a copy that joins later, its source's."""
        growth, there = self.growth, self.growth.counts[layer + 1]
        columns = self.columns.to(hidden.device)
        if there == len(growth.sources):
            return hidden[:, columns]
        copies = self._copies(layer)
        size = self.inputs["input_ids"].shape[self.dim] // growth.first
        if self.dim == 0:
            rows = (copies[:, None] * size + torch.arange(size)).flatten()
            return hidden[rows.to(hidden.device)][:, columns]
        places = (columns % size).view(len(copies), -1)
        return hidden[:, (copies.to(hidden.device)[:, None] * size + places).flatten()]


def _columns(size: int, whole: bool) -> list[int]:
    """The places in a tail whose outputs are wanted: all, or the last."""
    return list(range(size)) if whole else [size - 1]


def _in_order_of_joining(branches: Sequence[Branch]) -> list[int]:
    """Branches that begin alike beside each other; those without edits first, to which others may be compared."""
    return sorted(range(len(branches)), key=lambda i: (bool(branches[i].edits), branches[i].start_layer))


def packed_passes(
    lm: LM,
    batch: Sequences,
    prefix: Prefix,
    whole: bool,
    grow: bool,
    way: Way | None = None,
) -> Iterator[Pass]:
    """A pass for each chunk of branches behind the prompts that have been read.

    Args:
        lm: the model.
        batch: prompts and branches.
        prefix: the prompts' shared tokens, a row each.
        whole: whether outputs are wanted at every token of a tail, or at its last.
        grow: whether branches join where their edits begin.
        way: how the branches stand behind their prompt; by default as costs least.
    """
    order = _in_order_of_joining(batch.branches)
    seen = prefix.valid.shape[1] + batch.size
    most = max(1, min(MAX_BRANCH_TOKENS, lm.token_budget) // batch.size)
    if way is None:
        apart = batch.size**2 * (min(most, len(order)) - 1) > COPY_COST * seen
        shared = lm.shares and seen > (LEAST_LONGER + 1) * batch.size
        way = "one row" if not apart else "shared" if shared else "copies"
    if way != "one row":
        most = lm.token_budget // batch.size
        copied = COPIED * lm.token_budget // seen if way == "copies" else most
        most = max(1, int(min(most, copied)) // len(batch.prefixes))
    make = _packed_pass if way == "one row" else partial(_apart_pass, shared=way == "shared")
    for start in range(0, len(order), most):
        growth = arrange(len(lm.blocks), batch.branches, order[start : start + most], grow)
        yield make(lm, batch, prefix, growth, whole)


def _packed_pass(lm: LM, batch: Sequences, prefix: Prefix, growth: LateBranches, whole: bool) -> Pass:
    device, size, rows, copies = lm.device, batch.size, len(batch.prefixes), len(growth.sources)
    variants = growth.variants
    ids = [[token for v in variants[: growth.first] for token in tails[v]] for tails in batch.tails]
    offset = torch.arange(size, device=device).repeat(copies)
    owner = torch.arange(copies, device=device).repeat_interleave(size)
    position = prefix.lengths[:, None] + offset
    first = growth.first * size
    among = (owner[:first, None] == owner[None, :first]) & (offset[:first, None] >= offset[None, :first])
    places = _columns(size, whole)
    columns = torch.tensor([copy * size + place for copy in range(copies) for place in places], device=device)
    inputs = {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": packed_mask(lm, prefix, position[:, :first], among),
        "position_ids": position[:, :first],
        lm.cache_argument: prefix.cache(kept=False),
        "use_cache": True,
        **keep_logits(lm, columns),
    }
    lengths = batch.lengths or [[size] * len(batch.tails[0])] * rows
    ends = torch.tensor([[lengths[row][v] - 1 for v in variants] for row in range(rows)], device=device)
    layout = Layout(
        owner=owner.expand(rows, -1),
        position=position,
        relative=offset.expand(rows, -1),
        last=offset == ends.repeat_interleave(size, dim=1),
    )
    branch = torch.tensor([-1 if b is None else b for b in growth.branches]).repeat_interleave(len(places))
    prompt = torch.arange(rows)[:, None].expand(-1, len(branch))
    place = torch.tensor(places * copies).expand(rows, -1)
    wanted = torch.stack([prompt, branch.expand(rows, -1), place], dim=-1)
    return Pass(inputs, layout, _edits(batch, growth), growth, 1, columns, wanted)


def _edits(batch: Sequences, growth: LateBranches) -> list[Sequence[Edit]]:
    return [() if b is None else batch.branches[b].edits for b in growth.branches]


def _apart_pass(lm: LM, batch: Sequences, prefix: Prefix, growth: LateBranches, whole: bool, shared: bool) -> Pass:
    """Rows of tails, copy after copy, each behind its prompt's keys and values, or a copy of them."""
    size, rows, copies, first = batch.size, len(batch.prefixes), len(growth.sources), growth.first
    offset = torch.arange(size, device=lm.device)
    position = prefix.lengths.repeat(copies)[:, None] + offset
    repeated = Prefix((), prefix.position.repeat(first, 1), prefix.valid.repeat(first, 1))
    every = [(copy, p) for copy in range(copies) for p in range(rows)]
    ids = [batch.tails[p][growth.variants[copy]] for copy, p in every[: first * rows]]
    columns = torch.tensor(_columns(size, whole), device=lm.device)
    inputs = {
        "input_ids": torch.tensor(ids, device=lm.device),
        "attention_mask": packed_mask(lm, repeated, position[: first * rows], offset[:, None] >= offset),
        "position_ids": position[: first * rows],
        lm.cache_argument: prefix.cache(kept=False, shared=shared),
        "use_cache": True,
        **keep_logits(lm, columns),
    }
    owner = torch.tensor([copy for copy, _ in every], device=lm.device)[:, None].expand(-1, size)
    ends = torch.tensor(_ends(batch, growth, every), device=lm.device)
    layout = Layout(owner, position, offset.expand(len(every), -1), last=offset == ends[:, None])
    wanted = _wanted_of_rows(batch, growth, every, whole)
    return Pass(inputs, layout, _edits(batch, growth), growth, 0, columns, wanted, shared)


def _ends(batch: Sequences, growth: LateBranches, rows: Sequence[tuple[int, int]]) -> list[int]:
    """The place of each row's last token in its tail; a row is a copy and a prompt."""
    if batch.lengths is None:
        return [batch.size - 1] * len(rows)
    return [batch.lengths[p][growth.variants[copy]] - 1 for copy, p in rows]


def _wanted_of_rows(
    batch: Sequences, growth: LateBranches, rows: Sequence[tuple[int, int]], whole: bool
) -> torch.Tensor:
    """See `Pass.wanted`; a row is a copy and a prompt."""
    branch = [-1 if (b := growth.branches[copy]) is None else b for copy, _ in rows]
    places = _columns(batch.size, whole)
    return torch.tensor([[(p, b, place) for place in places] for (_, p), b in zip(rows, branch, strict=True)])


def row_passes(lm: LM, batch: Sequences, whole: bool, grow: bool) -> Iterator[Pass]:
    """Passes of whole sequences, left-padded, each with the edits of its own branch, within the token budget.

    Args:
        lm: the model.
        batch: prompts and branches.
        whole: whether outputs are wanted at every token of a tail, or at its last.
        grow: whether branches join where their edits begin.
    """
    order = _in_order_of_joining(batch.branches)
    most = max(1, lm.token_budget // (max(map(len, batch.prefixes)) + batch.size))
    prompts = max(1, most // len(order))
    for low in range(0, len(batch.prefixes), prompts):
        chosen = range(low, min(low + prompts, len(batch.prefixes)))
        for start in range(0, len(order), most):
            growth = arrange(len(lm.blocks), batch.branches, order[start : start + most], grow)
            yield _row_pass(lm, batch, chosen, growth, whole)


def _row_pass(lm: LM, batch: Sequences, prompts: Sequence[int], growth: LateBranches, whole: bool) -> Pass:
    device, size = lm.device, batch.size
    variants = growth.variants
    every = [(copy, p) for copy in range(len(growth.sources)) for p in prompts]
    sequences = [[*batch.prefixes[p], *batch.tails[p][variants[copy]]] for copy, p in every]
    longest = max(map(len, sequences))
    pad = torch.tensor([longest - len(s) for s in sequences], device=device)[:, None]
    ids = torch.tensor([[s[0]] * (longest - len(s)) + s for s in sequences], device=device)
    column = torch.arange(longest, device=device)
    position = (column - pad).clamp(min=0)
    real = column >= pad
    columns = torch.tensor([longest - size + place for place in _columns(size, whole)], device=device)
    first = growth.first * len(prompts)
    inputs = {
        "input_ids": ids[:first],
        "attention_mask": real[:first].long(),
        "position_ids": position[:first],
        "use_cache": False,
        **keep_logits(lm, columns),
    }
    owner = torch.tensor([copy for copy, _ in every], device=device)[:, None]
    ends = longest - size + torch.tensor(_ends(batch, growth, every), device=device)
    layout = Layout(
        owner=torch.where(real, owner, -1),
        position=position,
        relative=(column - (longest - size)).expand(len(every), -1),
        last=column == ends[:, None],
    )
    return Pass(inputs, layout, _edits(batch, growth), growth, 0, columns, _wanted_of_rows(batch, growth, every, whole))


def last_activations(lm: LM, batch: Sequences, layers: Sequence[int], passes: Iterator[Pass]) -> torch.Tensor:
    """Block outputs at the last token of each branch; nothing above the deepest layer runs.

    Returns:
        [branches, prompts, layers, width], float32, on the CPU.
    """
    activations = torch.full((len(batch.branches), len(batch.prefixes), len(layers), lm.width), torch.nan)
    deepest = max(layers)
    with torch.no_grad():
        for step in passes:
            with step.in_place(lm), captured(lm, layers, step.read) as outputs, stopping_after(lm, deepest):
                lm.model(**step.inputs)
            prompt, branch, _ = step.wanted.unbind(-1)
            values = torch.stack([outputs[layer].float().cpu() for layer in layers], dim=2)
            # A plain tail that nobody asked for has no place: -1 would be the last branch's.
            asked = branch >= 0
            activations[branch[asked], prompt[asked]] = values[asked]
    return activations


def mean_activations(
    lm: LM, batch: Sequences, layers: Sequence[int], passes: Iterator[Pass], spans: torch.Tensor
) -> torch.Tensor:
    """Block outputs averaged over some places of each tail; nothing above the deepest layer runs.

    Args:
        lm: the model.
        batch: prompts and branches.
        layers: 0-based blocks.
        passes: the batch's, of outputs at every place.
        spans: the first place and the one after the last, [prompts, variants, 2].

    Returns:
        [prompts, branches, layers, width], float32, on the CPU.
    """
    means = torch.full((len(batch.prefixes), len(batch.branches), len(layers), lm.width), torch.nan)
    variant = torch.tensor([branch.variant for branch in batch.branches])
    with torch.no_grad():
        for step in passes:
            # Columns go copy by copy, and within a copy place by place.
            prompt, branch, place = step.wanted.view(len(step.wanted), -1, batch.size, 3).unbind(-1)
            first, end = spans[prompt, variant[branch]].unbind(-1)
            share = ((place >= first) & (place < end)) / (end - first)

            def read(hidden: torch.Tensor, layer: int, step: Pass = step, share: torch.Tensor = share) -> torch.Tensor:
                outputs = step.read(hidden, layer).view(*share.shape, -1).float()
                return torch.einsum("rcpw,rcp->rcw", outputs, share.to(outputs.device))

            with step.in_place(lm), captured(lm, layers, read) as outputs, stopping_after(lm, max(layers)):
                lm.model(**step.inputs)
            values = torch.stack([outputs[layer].cpu() for layer in layers], dim=2)
            asked = branch[..., 0] >= 0
            means[prompt[..., 0][asked], branch[..., 0][asked]] = values[asked]
    return means
