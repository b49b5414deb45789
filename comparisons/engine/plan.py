"""From interventions and prompts to the fewest tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from comparisons.intervention import Edit, Intervention

Tokens = tuple[int, ...]

MAX_BRANCH_TOKENS = 1_024
"""Branch tokens of one prompt in one forward: attention among them grows with the square."""

LEAST_SHARED = 8
"""A beginning shorter than this is not worth a forward pass of its own."""


@dataclass(frozen=True)
class Branch:
    """One continuation of a prompt under one intervention.

    Attributes:
        variant: which of the prompt's tails it runs.
        edits: what is changed in it.
    """

    variant: int
    edits: Sequence[Edit]

    @property
    def birth(self) -> int:
        """The first block whose input differs from the plain tail's; a large number where nothing differs."""
        return min((edit.layer + (edit.site == "block") for edit in self.edits), default=1 << 30)


@dataclass(frozen=True)
class Sequences:
    """Prompts of a batch, each continued by the same branches.

    Attributes:
        prefixes: the shared tokens of each prompt, before the last prompt token; may be empty.
        tails: [prompt][variant]: the tokens from the last prompt token on. All of one length; shorter ones are
            padded at their end.
        branches: what is run on them.
        lengths: [prompt][variant]: the tails' own lengths; None where none is padded.
    """

    prefixes: Sequence[Tokens]
    tails: Sequence[Sequence[Tokens]]
    branches: Sequence[Branch]
    lengths: Sequence[Sequence[int]] | None = None

    @property
    def size(self) -> int:
        """Tokens of a tail."""
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


@dataclass(frozen=True)
class Family:
    """Prompts that go on alike after the beginning that all share.

    Attributes:
        stem: the tokens that its members have in common there.
        members: indices of the prompts.
    """

    stem: Tokens
    members: tuple[int, ...]


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)


def shared_head(prefixes: Sequence[Tokens]) -> Tokens:
    """The tokens with which all prompts begin; none where they are too few to be worth it."""
    if len(prefixes) < 2:
        return ()
    first, last = min(prefixes), max(prefixes)
    head = first[: common_prefix(first, last)]
    return head if len(head) >= LEAST_SHARED else ()


def families(prefixes: Sequence[Tokens], head: int) -> list[Family]:
    """Splits prompts into families, greedily in lexical order: a prompt joins where that shares more tokens.

    Args:
        prefixes: the prompts' shared tokens.
        head: how many of them all have in common.
    """
    found: list[Family] = []
    for index in sorted(range(len(prefixes)), key=lambda i: prefixes[i]):
        rest = prefixes[index][head:]
        if found:
            last = found[-1]
            size = len(last.members)
            # A family of one has its whole rest as its stem, until another joins.
            common = common_prefix(last.stem, rest)
            if common >= LEAST_SHARED and size * common > (size - 1) * len(last.stem):
                found[-1] = Family(rest[:common], (*last.members, index))
                continue
        found.append(Family(rest, (index,)))
    return [family if len(family.members) > 1 else Family((), family.members) for family in found]


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
