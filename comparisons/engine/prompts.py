"""Prompts in batches: the beginnings that they share are read once, a batch that doesn't fit memory is halved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from comparisons.engine.head import head_of
from comparisons.engine.memory import halving
from comparisons.engine.passes import Pass, packed_passes, row_passes
from comparisons.engine.plan import (
    Branch,
    Family,
    Sequences,
    Tokens,
    batches,
    family_batches,
    shared_head,
    shares_prompt,
)
from comparisons.engine.prefix import Prefix, no_prefix, read, read_families
from comparisons.engine.trial import packing, pads
from comparisons.model.lm import LM

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Some of the prompts.

    Attributes:
        prompts: their indices.
        sequences: them and their branches.
        passes: runs what they share and yields the passes of their branches.
    """

    prompts: Sequence[int]
    sequences: Sequences
    passes: Iterator[Pass]


@dataclass(frozen=True)
class Prompts:
    """Prompts with the same branches.

    Attributes:
        prefixes: the shared tokens of each, before the last prompt token.
        tails: [prompt][variant]: see `Sequences`.
        branches: what is run on each.
        lengths: [prompt][variant]: see `Sequences`.
        whole: whether outputs are wanted at every token of a tail, or at its last.
        stop_after: the last block whose output is wanted, where logits are not.
    """

    prefixes: Sequence[Tokens]
    tails: Sequence[Sequence[Tokens]]
    branches: Sequence[Branch]
    lengths: Sequence[Sequence[int]] | None = None
    whole: bool = False
    stop_after: int | None = None

    def sequences(self, chosen: Sequence[int]) -> Sequences:
        """Some of the prompts; their tails must be of one length."""
        lengths = None if self.lengths is None else [self.lengths[i] for i in chosen]
        tails = [self.tails[i] for i in chosen]
        return Sequences([self.prefixes[i] for i in chosen], tails, self.branches, lengths)


def in_batches(lm: LM, prompts: Prompts, work: Callable[[Batch], T]) -> Iterator[T]:
    """Runs all prompts; where memory runs out, the token budget is halved for good and the batch begins again.

    Args:
        lm: the model.
        prompts: what to run.
        work: runs the passes of one batch; may be called again for the same prompts.

    Yields:
        What `work` returns for each batch.
    """
    packed = shares_prompt([branch.edits for branch in prompts.branches]) and packing(lm) != "rows"
    head = None
    for size in sorted({len(tails[0]) for tails in prompts.tails}):
        pending = {i for i, tails in enumerate(prompts.tails) if len(tails[0]) == size}
        while pending:
            with halving(lm):
                if packed and head is None:
                    head = _read_head(lm, prompts)
                for chosen in _batches(lm, prompts, sorted(pending), head):
                    members = [i for family in chosen for i in family.members]
                    batch = prompts.sequences(members)
                    done = work(Batch(members, batch, _passes(lm, prompts, batch, head, chosen)))
                    pending -= {*members}
                    yield done


def _read_head(lm: LM, prompts: Prompts) -> Prefix:
    shared = shared_head(prompts.prefixes)
    with torch.no_grad():
        return read(lm, no_prefix(lm, 1), [shared], prompts.stop_after)


def _batches(lm: LM, prompts: Prompts, pending: Sequence[int], head: Prefix | None) -> Iterator[list[Family]]:
    """Prompts with equally long tails in batches within the token budget, in families where they are packed."""
    if head is not None:
        shared = int(head.lengths[0])
        yield from family_batches(
            prompts.prefixes, pending, shared, _branch_tokens(lm, prompts, pending[0]), lm.token_budget
        )
        return
    # A batch's branches are cut to the budget when it runs.
    for batch in batches([len(prompts.prefixes[i]) for i in pending], 0, lm.token_budget, alike=not pads(lm)):
        yield [Family((), (pending[i],)) for i in batch]


def _passes(
    lm: LM, prompts: Prompts, batch: Sequences, head: Prefix | None, chosen: Sequence[Family]
) -> Iterator[Pass]:
    """The passes of a batch, packed behind `head` where there is one."""
    grow = packing(lm) == "grown"
    if head is None:
        yield from row_passes(lm, batch, prompts.whole, grow)
        return
    prefix = read_families(lm, head, chosen, prompts.prefixes, prompts.stop_after)
    yield from packed_passes(lm, batch, prefix, prompts.whole, grow)


def _branch_tokens(lm: LM, prompts: Prompts, prompt: int) -> int:
    """Tokens of a prompt's branches, the memory of their logits counted as tokens too."""
    size = len(prompts.tails[prompt][0])
    # Those of whole tails are made in pieces where the output layer can be run apart.
    outputs = size if prompts.whole and head_of(lm) is None else 1
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    logits = 0 if prompts.stop_after is not None else outputs * vocabulary // (4 * lm.width)
    return len(prompts.branches) * (size + logits)
