"""Prompts in batches: the beginnings that they share are read once, a batch that doesn't fit memory is halved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from comparisons.engine.memory import halving
from comparisons.engine.passes import Pass
from comparisons.engine.plan import Branch, Family, Sequences, Tokens, batches, families, shared_head
from comparisons.engine.prefix import Prefix, no_prefix, read
from comparisons.engine.run import batch_passes, packing, shares_prompt
from comparisons.lm import LM

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
    pending = list(range(len(prompts.prefixes)))
    head = None
    while pending:
        with halving(lm):
            if packed and head is None:
                head = _read_head(lm, prompts)
            for chosen in _batches(lm, prompts, pending, head):
                members = [i for family in chosen for i in family.members]
                batch = prompts.sequences(members)
                passes = batch_passes(lm, batch, head, chosen, prompts.prefixes, prompts.whole, prompts.stop_after)
                done = work(Batch(members, batch, passes))
                pending = sorted({*pending} - {*members})
                yield done


def _read_head(lm: LM, prompts: Prompts) -> Prefix:
    shared = shared_head(prompts.prefixes)
    with torch.no_grad():
        return read(lm, no_prefix(lm, 1), [shared], prompts.stop_after)


def _batches(lm: LM, prompts: Prompts, pending: Sequence[int], head: Prefix | None) -> Iterator[list[Family]]:
    """Families of prompts in batches within the token budget."""
    if head is None:
        chosen = [Family((), (i,)) for i in pending]
        shared, most = 0, 0  # rows are cut to the budget by themselves
    else:
        shared = int(head.lengths[0])
        known = families([prompts.prefixes[i] for i in pending], shared)
        most = _branch_cost(lm, prompts)
        found = [Family(family.stem, tuple(pending[i] for i in family.members)) for family in known]
        chosen = [part for family in found for part in _parts(lm, prompts, family, shared, most)]
    for batch in batches(
        [_length(prompts, family, shared) + len(family.members) * most for family in chosen],
        [(len(family.members), {len(prompts.tails[i][0]) for i in family.members}) for family in chosen],
        lambda length: length,
        lm.token_budget,
    ):
        yield from _alike(prompts, [chosen[i] for i in batch])


def _parts(lm: LM, prompts: Prompts, family: Family, shared: int, most: int) -> Iterator[Family]:
    """A family in parts that are within the token budget: many prompts may begin with a few tokens alike."""
    stem = len(family.stem)
    longest = max(len(prompts.prefixes[i]) for i in family.members) - shared - stem
    size = max(1, (lm.token_budget - stem) // (longest + most))
    for start in range(0, len(family.members), size):
        members = family.members[start : start + size]
        yield Family(family.stem if len(members) > 1 else (), members)


def _alike(prompts: Prompts, chosen: Sequence[Family]) -> Iterator[list[Family]]:
    """Splits families whose members' tails differ in length, which can't be in one batch."""
    by_size: dict[int, list[Family]] = {}
    for family in chosen:
        sizes = {len(prompts.tails[i][0]) for i in family.members}
        for size in sizes:
            members = tuple(i for i in family.members if len(prompts.tails[i][0]) == size)
            by_size.setdefault(size, []).append(Family(family.stem, members))
    yield from by_size.values()


def _length(prompts: Prompts, family: Family, shared: int) -> int:
    stem = len(family.stem)
    longest = max(len(prompts.prefixes[i]) for i in family.members)
    return stem + len(family.members) * (longest - shared - stem)


def _branch_cost(lm: LM, prompts: Prompts) -> int:
    """Tokens of a prompt's branches, the memory of their logits counted as tokens too."""
    size = max(len(tails[0]) for tails in prompts.tails)
    outputs = size if prompts.whole else 1
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    logits = 0 if prompts.stop_after is not None else outputs * vocabulary // (4 * lm.width)
    return len(prompts.branches) * (size + logits)
