"""From interventions and prompts to the fewest tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comparisons.intervention import Edit, Intervention, Positions
from comparisons.model.prompts import common_prefix

Tokens = tuple[int, ...]

LEAST_SHARED = 8
"""A beginning shorter than this is not worth a forward pass of its own."""

LEAST_SHARE = 1 / 8
"""Nor is one that is a smaller part of a prompt: what is read behind it needs a mask, which costs attention more."""


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
    def start_layer(self) -> int:
        """The first block whose input differs from the plain tail's; a large number where nothing differs."""
        return min((edit.start for edit in self.edits), default=1 << 30)


@dataclass(frozen=True)
class Sequences:
    """Prompts of a batch, each continued by the same branches.

    Attributes:
        prefixes: the shared tokens of each prompt, before the last prompt token; may be empty.
        tails: [prompt][variant]: the tokens from the last prompt token on. All of one length; shorter ones are
            padded at their end.
        branches: what is run on them.
        lengths: [prompt][variant]: the tails' own lengths, with a last token that is not run; None where none is
            padded.
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

    @property
    def shown(self) -> object:
        """What stands around the questions: groups that differ in their adapter alone show the same."""
        return self.head.system, self.head.examples


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


def shares_prompt(edits: Sequence[Sequence[Edit]]) -> bool:
    """Whether no edit reaches the prompt, so that its cache can be shared."""
    return not any(Positions.parse(e.positions).touches_prompt for group in edits for e in group)


@dataclass(frozen=True)
class Family:
    """Prompts that go on alike after the beginning that all share.

    Attributes:
        stem: the tokens that its members have in common there.
        members: indices of the prompts.
    """

    stem: Tokens
    members: tuple[int, ...]


def _worth(common: int, longest: int) -> bool:
    return common >= max(LEAST_SHARED, LEAST_SHARE * longest)


def shared_head(prefixes: Sequence[Tokens]) -> Tokens:
    """The tokens with which all prompts begin; none where they are too few to be worth it."""
    if len(prefixes) < 2:
        return ()
    first, last = min(prefixes), max(prefixes)
    head = first[: common_prefix(first, last)]
    return head if _worth(len(head), max(map(len, prefixes))) else ()


def families(prefixes: Sequence[Tokens], chosen: Sequence[int], shared: int) -> list[Family]:
    """Splits prompts into families, greedily in lexical order: a prompt joins where that shares more tokens.

    Args:
        prefixes: the shared tokens of every prompt.
        chosen: indices of the prompts to split.
        shared: how many tokens all have in common.
    """
    split: list[Family] = []
    longest = 0
    for index in sorted(chosen, key=lambda i: prefixes[i]):
        rest = prefixes[index][shared:]
        longest = max(longest, len(rest))
        if split:
            last = split[-1]
            size = len(last.members)
            # A family of one has its whole rest as its stem, until another joins.
            common = common_prefix(last.stem, rest)
            if _worth(common, longest) and size * common > (size - 1) * len(last.stem):
                split[-1] = Family(rest[:common], (*last.members, index))
                continue
        split.append(Family(rest, (index,)))
        longest = len(rest)
    return [family if len(family.members) > 1 else Family((), family.members) for family in split]


def batches(
    lengths: Sequence[int], extra: int, budget: int, rows: Sequence[int] | None = None, alike: bool = False
) -> Iterator[list[int]]:
    """Indices in batches of like length, each within a token budget (a single one may exceed it).

    A batch that is a quarter full ends where the next one would be more than a quarter of padding.

    Args:
        lengths: tokens of a row of each.
        extra: tokens that each row runs beside them.
        budget: tokens a batch, all its rows counted as the longest.
        rows: rows of each; one by default.
        alike: whether those of a batch must be of one length.
    """
    rows = [1] * len(lengths) if rows is None else rows
    batch: list[int] = []
    count = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = (lengths[batch[0]] if batch else 0) + extra
        full = (count + rows[index]) * longest > budget
        padded = lengths[index] + extra < 0.75 * longest and count * longest > budget / 4
        other = alike and bool(batch) and lengths[index] != lengths[batch[0]]
        if batch and (full or padded or other):
            yield batch
            batch, count = [], 0
        batch.append(index)
        count += rows[index]
    if batch:
        yield batch


def family_batches(
    prefixes: Sequence[Tokens], chosen: Sequence[int], shared: int, extra: int, budget: int
) -> Iterator[list[Family]]:
    """Families of prompts in batches of like length within a token budget.

    Args:
        prefixes: the shared tokens of every prompt.
        chosen: indices of the prompts to run.
        shared: how many tokens all have in common.
        extra: tokens of a prompt's branches.
        budget: tokens a batch.
    """
    parts: list[Family] = []
    for family in families(prefixes, chosen, shared):
        # Many prompts may begin with a few tokens alike: no part of a family exceeds the budget.
        members = sorted(family.members, key=lambda i: -len(prefixes[i]))
        stem = len(family.stem)
        size = max(1, (budget - stem) // max(1, len(prefixes[members[0]]) - shared - stem + extra))
        for start in range(0, len(members), size):
            part = tuple(members[start : start + size])
            parts.append(Family(family.stem if len(part) > 1 else (), part))
    # Those without a stem would be rows of padding where stems are read.
    for some in ([part for part in parts if part.stem], [part for part in parts if not part.stem]):
        lengths = [
            len(prefixes[part.members[0]]) - shared - len(part.stem) + -(-len(part.stem) // len(part.members))
            for part in some
        ]
        for batch in batches(lengths, extra, budget, [len(part.members) for part in some]):
            yield [some[i] for i in batch]
