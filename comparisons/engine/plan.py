"""From interventions and prompts to the fewest forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from comparisons.intervention import Edit, Intervention

MAX_BRANCH_TOKENS = 1_024
"""Branch tokens of one prompt in one forward: attention among them grows with the square."""


@dataclass(frozen=True)
class Sequences:
    """Prompts of a batch, each continued by the same number of branches of equal length.

    Attributes:
        prefixes: the shared tokens of each prompt, before the last prompt token; may be empty.
        tails: [prompt][branch]: its tokens from the last prompt token on, all of one length.
        edits: [branch]: the edits of each branch.
    """

    prefixes: Sequence[tuple[int, ...]]
    tails: Sequence[Sequence[tuple[int, ...]]]
    edits: Sequence[Sequence[Edit]]

    @property
    def tail_length(self) -> int:
        """Tokens of a branch."""
        return len(self.tails[0][0])


@dataclass(frozen=True)
class Group:
    """Interventions that leave the prompt's tokens and the weights the same.

    Attributes:
        head: any of them: its prompt and its adapter are those of all.
        members: the distinct interventions of the group.
        cells: for each of them, the indices of the interventions asked for that equal it.
    """

    head: Intervention
    members: tuple[Intervention, ...]
    cells: tuple[tuple[int, ...], ...]


def group_by_prefix(interventions: Sequence[Intervention]) -> list[Group]:
    """Groups interventions that can share a prompt's cache, equal ones taken once, in order of appearance."""
    groups: dict[object, dict[object, tuple[Intervention, list[int]]]] = {}
    for index, given in enumerate(interventions):
        plain = given.simplified()
        edits = tuple(edit.digest for edit in plain.edits)
        group = groups.setdefault(plain.prefix_key, {})
        group.setdefault(edits, (plain, []))[1].append(index)
    return [
        Group(
            head=next(iter(group.values()))[0],
            members=tuple(member for member, _ in group.values()),
            cells=tuple(tuple(cells) for _, cells in group.values()),
        )
        for group in groups.values()
    ]


def batches(
    lengths: Sequence[int], same: Sequence[object], cost: Callable[[int], int], budget: int
) -> Iterator[list[int]]:
    """Indices in batches of like length, each within a token budget (a single one may exceed it).

    Args:
        lengths: tokens of each sequence.
        same: what must be equal within a batch.
        cost: tokens run for one sequence when the longest of its batch has this length.
        budget: tokens a batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (repr(same[i]), -lengths[i]))
    batch: list[int] = []
    for index in order:
        fits = batch and same[batch[0]] == same[index] and (len(batch) + 1) * cost(lengths[batch[0]]) <= budget
        if batch and not fits:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
