"""`--match`: for each stack and direction the strength at which it has a wanted value on dev.

What a cell moves is compared at the same KL, or at the same cost in knowledge, and not at whatever one dose of each
method happens to do. Nothing of it reads a test question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from comparisons.experiment.specification import Cell, Element
from comparisons.judges.interface import MOST
from comparisons.results.cells import CellStore
from comparisons.results.costs import FALLING, QUANTITIES
from comparisons.running.choosing import cell_name
from comparisons.running.dev import Dev
from comparisons.util.errors import CompareError

GRID = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Strengths that are tried at once where they share a prompt's cache."""

LARGEST = 64.0
"""A value that this strength doesn't reach is not reached."""

NEAR, FAR = 0.02, 0.1
"""How far from the value, as a share of it, what a strength has on dev may be: to stop looking, and to be taken."""

ROUNDS = 12

MOST_GROWTH = 8.0
"""By how much the next strength may exceed the largest one."""


def strength_at(
    value: float, measure: Callable[[Sequence[float]], Sequence[float]], together: bool
) -> tuple[float | None, dict[float, float]]:
    """Looks for the smallest strength at which what is measured rises to a value.

    Between two strengths around it the next is interpolated in the square root of what was measured, which is linear
    for the KL of small doses; beyond the largest it is extrapolated.

    Args:
        value: above 0.
        measure: gives what strengths have.
        together: whether several strengths cost hardly more than one.

    Returns:
        The strength, None where none has the value; and what every strength that was tried has.
    """
    known: dict[float, float] = {}
    wanted = [0.0, *(GRID if together else (1.0,))]
    for number in range(ROUNDS):
        known |= zip(wanted, measure(wanted), strict=True)
        if known[0.0] >= value or _distance(known, value) <= NEAR:
            break
        # Every third time halfway: of a steep curve what is interpolated stays on one side.
        wanted = [dose for dose in _next(known, value, together, halfway=number % 3 == 2) if dose not in known]
        if not wanted:
            break
    found = min((strength for strength in known if strength), key=lambda strength: abs(known[strength] - value))
    return (found if known[0.0] < value and _distance(known, value) <= FAR else None), known


def _distance(known: Mapping[float, float], value: float) -> float:
    """How far from the value the nearest of what was measured is, as a share of it."""
    return min(abs(each - value) for each in known.values()) / value


def _next(known: Mapping[float, float], value: float, together: bool, halfway: bool) -> list[float]:
    """The strengths to try next, of four digits; none beyond `LARGEST`."""
    doses = sorted(known)
    above = next((place for place, dose in enumerate(doses) if known[dose] >= value), None)
    if above is None:
        last = doses[-1]
        growth = math.sqrt(value / known[last]) if known[last] > 0 else MOST_GROWTH
        return [_digits(min(LARGEST, last * min(MOST_GROWTH, max(1.1, 1.05 * growth))))]
    low, high = doses[above - 1], doses[above]
    roots = [math.sqrt(max(0.0, known[dose])) for dose in (low, high)]
    share = 0.5 if halfway else (math.sqrt(value) - roots[0]) / (roots[1] - roots[0])
    between = low + (high - low) * min(0.98, max(0.02, share))
    # On either side of it too, so that the next one is between near ones.
    wanted = [between, (low + between) / 2, (between + high) / 2] if together else [between]
    return list(dict.fromkeys(map(_digits, wanted)))


def _digits(strength: float) -> float:
    return float(f"{strength:.4g}")


class Matcher:
    """Finds the strengths of the cells of one behavior, each once.

    Args:
        dev: where is tried.
        folder: the run's.
        settled: chooses the open settings of a cell's elements.
        stage: told what is done.
    """

    def __init__(
        self,
        dev: Dev,
        folder: CellStore,
        settled: Callable[[Cell], Sequence[Element]],
        stage: Callable[[str], None],
    ) -> None:
        assert dev.plan.spec.wanted is not None
        self.match = dev.plan.spec.wanted
        self.dev, self.folder, self.settled, self.stage = dev, folder, settled, stage

    def cell(self, cell: Cell) -> Cell:
        """A cell at the strength at which it has the value; one without a dose as it is.

        Raises:
            CompareError: no strength has the value.
        """
        if not any(element.method.dosed for element in cell.elements):
            return cell
        key = f"match {self.match} {cell.key} {cell.elements!r}"
        record = self.folder.choice(key, cell.behavior, cell.model)
        if record is None:
            record = self._found(cell)
            self.folder.add_choice(key, record)
        if record["strength"] is None:
            raise CompareError(self._unreached(record))
        return cell.at(record["strength"])

    def _found(self, cell: Cell) -> dict[str, Any]:
        """Looks for the strength."""
        self.stage(f"match {cell.label} {cell.direction} at {self.match}")
        elements = tuple(self.settled(cell))

        def measure(strengths: Sequence[float]) -> list[float]:
            doses = [replace(cell, elements=elements).at(strength) for strength in strengths]
            tried = [self.dev.fitter.build(dose.elements).intervention for dose in doses]
            return [self._risen(found.value) for found in self.dev.measured(self.match.quantity, tried)]

        together = not [each for each in elements if each.method.dosed][-1].method.adapts
        strength, values = strength_at(self._risen(self.match.value), measure, together)
        return {
            "behavior": cell.behavior,
            "method": cell_name(cell),
            **({"model": cell.model} if cell.model else {}),
            "direction": cell.direction,
            "match": str(self.match),
            "strength": strength,
            "tried": [[dose, round(self._risen(value), 6)] for dose, value in sorted(values.items())],
        }

    def _risen(self, value: float) -> float:
        """A value as that of something that rises, or that back: what falls, falls from `MOST`."""
        return MOST - value if self.match.quantity in FALLING else value

    def _unreached(self, record: Mapping[str, Any]) -> str:
        """Why no strength was taken."""
        words, tried = QUANTITIES[self.match.quantity], record["tried"]
        wanted, reached = self._risen(self.match.value), [self._risen(value) for _, value in tried]
        if reached[0] >= wanted:
            place, said = 0, " already"
        elif max(reached) < wanted:
            place = reached.index(max(reached))
            said = f", the {'least' if self.match.quantity in FALLING else 'most'} of all tried"
        else:
            place = min(range(len(reached)), key=lambda at: abs(reached[at] - wanted))
            said = ", the nearest of all tried"
        dose, value = tried[place]
        return (
            f"no strength of {record['method']} has a {words} of {self.match.value:g} on dev: it is {value:.3g} at "
            f"strength {dose:g}{said}."
        )
