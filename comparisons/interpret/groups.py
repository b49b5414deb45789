"""Traces averaged over items, aligned at the end of the prompt, and the difference between two groups of items."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comparisons.interpret.trace import UNITS, Along
from comparisons.intervention import Intervention
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import Item
    from comparisons.model.lm import LM


@dataclass(frozen=True)
class Group:
    """Items that are averaged, and what is in place while the model reads them."""

    name: str
    items: Sequence[Item]
    intervention: Intervention


@dataclass(frozen=True)
class Mean:
    """A group's mean projections.

    Attributes:
        name: of the group.
        items: how many it has.
        values: [layers, positions] float64; NaN where no item has a token.
        counts: items that have a token at each position, [positions].
    """

    name: str
    items: int
    values: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class GroupTrace:
    """Mean projections of one or two groups.

    Attributes:
        model, vector, cosine, layers: see `Trace`.
        positions: 0 is the last prompt token; the first generated token is 1.
        groups: the means.
    """

    model: str
    vector: str
    cosine: bool
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    groups: tuple[Mean, ...]

    @property
    def unit(self) -> str:
        """The unit of the values, in words."""
        return UNITS[self.cosine]

    @property
    def difference(self) -> np.ndarray | None:
        """The first group minus the second, [layers, positions]; None where there is one group."""
        return self.groups[0].values - self.groups[1].values if len(self.groups) == 2 else None

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file; null where no item has a token."""
        return {
            "model": self.model,
            "vector": self.vector,
            "unit": self.unit,
            "layers": list(self.layers),
            "positions": list(self.positions),
            "groups": [
                {"name": g.name, "items": g.items, "counts": g.counts.tolist(), "projections": _listed(g.values)}
                for g in self.groups
            ],
            "difference": None if self.difference is None else _listed(self.difference),
        }


def _listed(values: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]


def make_groups(behavior: Behavior, items: int, split: str | None, system: str | None = None) -> list[Group]:
    """The test items to average.

    Args:
        behavior: where they are from.
        items: the first so many, of each group.
        split: "label" for a group a label, "system" for the positive and the negative system prompt on the same
            items, None for one group.
        system: a system prompt that all read, unless they are split by it.

    Raises:
        CompareError: the items don't have two labels, or the behavior has no system prompts.
    """
    if items < 1:
        raise CompareError(f"--items must be at least 1, not {items}.")
    if split == "system":
        if system is not None:
            raise CompareError("--split system brings its own system prompts: leave --system out.")
        prompts = {d: Intervention(system=behavior.system_prompt(d)) for d in DIRECTIONS}
        return [Group(f"system {d}", behavior.test[:items], prompts[d]) for d in DIRECTIONS]
    plain = Intervention(system=system)
    if split is None:
        return [Group("all", behavior.test[:items], plain)]
    # "true" comes before "false": the difference is what is true of the true ones.
    labels = sorted({item.label for item in behavior.test if item.label is not None}, reverse=True)
    if len(labels) != 2:
        listed = ", ".join(labels) or "none"
        raise CompareError(f"--split label needs test items of two labels, and those of {behavior.name} have {listed}.")
    return [
        Group(f"label {label}", tuple(i for i in behavior.test if i.label == label)[:items], plain) for label in labels
    ]


def trace_groups(
    lm: LM, groups: Sequence[Group], along: Along, new_tokens: int, before: int, letters: bool = True
) -> GroupTrace:
    """Lets the model answer every item, and averages the projections by position from the end of the prompt.

    Args:
        lm: the model.
        groups: the items.
        along: the vectors.
        new_tokens: tokens to generate, greedily.
        before: prompt tokens to show before the last one.
        letters: whether the questions are asked with their lettered choices, or without any.
    """
    from comparisons.engine.inspection import answered, projections

    positions = range(-before, new_tokens + 1)
    means = []
    for group in groups:
        asked = [item.question if letters else item.stem for item in group.items]
        sequences = answered(lm, asked, group.intervention, new_tokens)
        values = projections(lm, [tokens for tokens, _ in sequences], along.vectors, along.cosine)
        ends = [length - 1 for _, length in sequences]
        rows = np.stack([_aligned(item, end, positions) for item, end in zip(values, ends, strict=True)])
        with warnings.catch_warnings():
            # Where no item has a token the mean of nothing is NaN, which is what is meant.
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(rows, axis=0)
        means.append(Mean(group.name, len(group.items), mean, np.isfinite(rows[:, 0]).sum(axis=0)))
    # Columns that no item of any group reaches (all answers have ended, or no prompt is as long) are left out.
    reached = np.flatnonzero(sum(mean.counts for mean in means))
    kept = slice(int(reached[0]), int(reached[-1]) + 1)
    return GroupTrace(
        model=lm.name,
        vector=along.name,
        cosine=along.cosine,
        layers=tuple(sorted(along.vectors)),
        positions=tuple(positions)[kept],
        groups=tuple(Mean(m.name, m.items, m.values[:, kept], m.counts[kept]) for m in means),
    )


def _aligned(values: np.ndarray, end: int, positions: range) -> np.ndarray:
    """The columns at `positions` from `end`, NaN where there is none."""
    aligned = np.full((len(values), len(positions)), np.nan)
    for column, position in enumerate(positions):
        if 0 <= end + position < values.shape[1]:
            aligned[:, column] = values[:, end + position]
    return aligned
