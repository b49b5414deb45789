"""Doubled strengths: whether the shift rises until the vector saturates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from checkpoints.pocket.recipe.card import SIGN, score
from comparisons.evaluation.measures import interval
from comparisons.intervention import Intervention
from comparisons.util.directions import DIRECTIONS
from tests.validation.subjects import ModelSizes, Subject

BROKEN = 0.5
"""The lost mass from which on a cell is called broken."""

LEAST_STEPS = 3
"""Steps that must rise before saturation: from nothing to the first strength, and two doublings."""


@dataclass(frozen=True)
class Doses:
    """A vector at doubled strengths in one direction, counted as the direction means it.

    Attributes:
        behavior: its name.
        direction: "pos" or "neg".
        layer: where the vector is added.
        strengths: the doses.
        shifts: for each, how far p(matching) moved the way that was meant.
        intervals: 95% of each shift.
        steps: 95% intervals of the step to each strength from the one before it, the first one from 0.
        lost: lost mass at each strength.
        until: the strength at which the vector saturates, see `saturation`.
    """

    behavior: str
    direction: str
    layer: int
    strengths: tuple[float, ...]
    shifts: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    steps: tuple[tuple[float, float], ...]
    lost: tuple[float, ...]
    until: float

    @property
    def rising(self) -> int:
        """How many steps rise one after the other, from 0 on and up to saturation."""
        last = self.strengths.index(self.until) + 1
        steps = np.diff([0.0, *self.shifts[:last]])
        return last if bool((steps > 0).all()) else int(np.argmin(steps > 0))

    @property
    def clear(self) -> int:
        """How many of the steps up to saturation have an interval above 0."""
        return sum(low > 0 for low, _ in self.steps[: self.strengths.index(self.until) + 1])

    @property
    def monotone(self) -> bool:
        """Whether each step up to saturation rises, and there are enough of them to say so."""
        steps = self.strengths.index(self.until) + 1
        return self.rising == steps >= LEAST_STEPS


def saturation(strengths: Sequence[float], shifts: Sequence[float], lost: Sequence[float]) -> float:
    """The strength of the largest shift among those at which the model still answers with a letter.

    Past it a stronger push only takes mass from the letters, and p(matching) falls back.
    """
    usable = [(shift, -at) for at, shift, gone in zip(strengths, shifts, lost, strict=True) if gone <= BROKEN]
    return -max(usable)[1] if usable else strengths[0]


def doses(subject: Subject, sizes: ModelSizes) -> list[Doses]:
    """One behavior's vector at all strengths, in both directions."""
    items = subject.behavior.limited(None, sizes.items, sizes.seed).test
    signed = [SIGN[direction] * strength for direction in DIRECTIONS for strength in sizes.strengths]
    found = score(subject.lm, items, [Intervention(), *(subject.steered(subject.vector, by) for by in signed)])
    groups = [item.template for item in items]
    count = len(sizes.strengths)
    rows = []
    for place, direction in enumerate(DIRECTIONS):
        mine = slice(1 + place * count, 1 + (place + 1) * count)
        moved = SIGN[direction] * (found.p[mine] - found.p[0])
        steps = np.diff(np.vstack([np.zeros(len(items)), moved]), axis=0)
        shifts, lost = tuple(moved.mean(axis=1).tolist()), tuple(found.lost_mass[mine].tolist())
        rows.append(
            Doses(
                behavior=subject.behavior.name,
                direction=direction,
                layer=subject.layer,
                strengths=sizes.strengths,
                shifts=shifts,
                intervals=_intervals(moved, groups, sizes.seed),
                steps=_intervals(steps, groups, sizes.seed),
                lost=lost,
                until=saturation(sizes.strengths, shifts, lost),
            )
        )
    return rows


def _intervals(values: np.ndarray, groups: Sequence[str | None], seed: int) -> tuple[tuple[float, float], ...]:
    found = [interval(row, groups, seed) for row in values]
    assert all(found), "a behavior has several templates"
    return tuple((each[0], each[1]) for each in found if each)
