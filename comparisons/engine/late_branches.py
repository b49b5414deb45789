"""Branches that join a forward pass where their edits begin: below that block each equals the plain tail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from comparisons.engine.plan import Branch
from comparisons.model.lm import LM


@dataclass(frozen=True)
class LateBranches:
    """The copies of a tail in a forward pass, in the order in which they join it.

    Attributes:
        sources: for each copy, the one that it equals until it joins; the first ones are their own.
        counts: [blocks + 1]: how many copies enter each block; the last entry is how many leave the last one.
        branches: for each copy, the branch that it is; None for a plain tail that nobody asked for.
        variants: for each copy, which of the prompt's tails it is.
    """

    sources: tuple[int, ...]
    counts: tuple[int, ...]
    branches: tuple[int | None, ...]
    variants: tuple[int, ...]

    @property
    def first(self) -> int:
        """How many copies the pass begins with."""
        return self.counts[0]


def arrange(blocks: int, branches: Sequence[Branch], chosen: Sequence[int], grow: bool) -> LateBranches:
    """Puts some of the branches into an order of joining.

    Args:
        blocks: number of decoder blocks.
        branches: all branches.
        chosen: indices of those that the pass runs.
        grow: whether copies may join late; otherwise all are there from the start, and none that nobody asked for.
    """
    if not grow:
        every = tuple(chosen)
        variants = tuple(branches[index].variant for index in every)
        return LateBranches(tuple(range(len(every))), (len(every),) * (blocks + 1), every, variants)
    born = {index: min(branches[index].start_layer, blocks) for index in chosen}
    # The plain tails, of which some may be asked for; one from which no other comes isn't run.
    plain: dict[int, int | None] = {branches[index].variant: None for index in chosen if born[index] > 0}
    late = []
    for index in sorted(chosen, key=lambda index: born[index]):
        branch = branches[index]
        if branch.start_layer > blocks and plain[branch.variant] is None:
            plain[branch.variant] = index
        else:
            late.append(index)
    place = {variant: i for i, variant in enumerate(plain)}
    sources = [*range(len(plain))]
    for index in late:
        # Those whose edits begin at once are there from the start, so are their own source.
        sources.append(len(sources) if born[index] == 0 else place[branches[index].variant])
    counts = tuple(len(plain) + sum(born[index] <= block for index in late) for block in range(blocks + 1))
    variants = (*plain, *(branches[index].variant for index in late))
    return LateBranches(tuple(sources), counts, (*plain.values(), *late), variants)


@contextmanager
def growing(lm: LM, growth: LateBranches, dim: int, size: int) -> Iterator[None]:
    """Lets the copies join while the context lasts.

    A hook after a block appends the hidden states of the copies that join there; a hook before each later block
    hands it the mask, position ids and position embeddings of all that are there.

    Args:
        lm: the model.
        growth: the copies.
        dim: 1 where a copy is a run of tokens, 0 where it is a run of rows.
        size: tokens, or rows, of a copy.
    """
    if len(growth.sources) == growth.first:
        yield
        return
    tiled = _Tiled(growth, dim, size)
    with ExitStack() as stack:
        for layer, block in enumerate(lm.blocks):
            now, then = growth.counts[layer], growth.counts[layer + 1]
            if now > growth.first:
                handle = block.register_forward_pre_hook(tiled.inputs_hook(now), with_kwargs=True)
                stack.callback(handle.remove)
            if then > now:
                stack.callback(block.register_forward_hook(tiled.output_hook(now, then)).remove)
        yield


class _Tiled:
    """What depends on how many copies there are: appended hidden states, and what goes with them."""

    def __init__(self, growth: LateBranches, dim: int, size: int) -> None:
        self.growth, self.dim, self.size = growth, dim, size
        self.masks: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def _index(self, copies: Sequence[int], device: torch.device) -> torch.Tensor:
        """Tokens, or rows, of some copies."""
        start = torch.tensor(copies, device=device)[:, None] * self.size
        return (start + torch.arange(self.size, device=device)).flatten()

    def output_hook(self, now: int, then: int) -> Any:
        sources = self.growth.sources[now:then]

        def hook(module: Any, args: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            dim = self.dim - 3  # before rows and tokens there may be copies of the stream
            joined = hidden.index_select(dim, self._index(sources, hidden.device))
            grown = torch.cat([hidden, joined], dim=dim)
            return (grown, *output[1:]) if isinstance(output, tuple) else grown

        return hook

    def inputs_hook(self, now: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            # The hidden states, which have grown already, come first.
            rest = {key: value if key == "hidden_states" else self._grown(value, now) for key, value in kwargs.items()}
            return (*args[:1], *(self._grown(value, now) for value in args[1:])), rest

        return hook

    def _grown(self, value: Any, now: int) -> Any:
        if isinstance(value, tuple):
            return tuple(self._grown(part, now) for part in value)
        if not isinstance(value, torch.Tensor) or value.dim() < 2:
            return value
        first = self.growth.first * self.size
        sources = self.growth.sources[:now]
        if self.dim == 0:
            return value.index_select(0, self._index(sources, value.device)) if value.shape[0] == first else value
        if value.dim() == 4 and value.shape[-2] == first:
            return self._mask(value, now)
        tokens = -1 if value.dim() == 2 else -2
        if value.shape[tokens] != first:
            return value
        return value.index_select(value.dim() + tokens, self._index(sources, value.device))

    def _mask(self, mask: torch.Tensor, now: int) -> torch.Tensor:
        """The mask of all copies, of which each sees what its source sees of the prompt, and itself."""
        if id(mask) not in self.masks:
            self.masks[id(mask)] = (mask, self._whole_mask(mask))
        whole = self.masks[id(mask)][1]
        tokens = now * self.size
        return whole[:, :, :tokens, : mask.shape[-1] - mask.shape[-2] + tokens]

    def _whole_mask(self, mask: torch.Tensor) -> torch.Tensor:
        before = mask.shape[-1] - mask.shape[-2]
        source = self._index(self.growth.sources, mask.device)
        copy = torch.arange(len(self.growth.sources), device=mask.device).repeat_interleave(self.size)
        rows = mask[:, :, source]
        inside = rows[..., before:][..., source]
        nothing = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        inside = inside.masked_fill(copy[:, None] != copy[None, :], nothing)
        return torch.cat([rows[..., :before], inside], dim=-1)
