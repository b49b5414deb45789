"""What to do about a behavior, in a line a direction: by the intervals and contrasts that `answer` explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.results.contrasts import between
from comparisons.results.findings import MARGIN, aim_of, dosed, doubt, intended, moved, ranked, unmatched, void
from comparisons.results.schema import Contrast
from comparisons.results.summary import SummaryRow
from comparisons.util.directions import DIRECTIONS
from comparisons.util.table import number


@dataclass(frozen=True)
class Verdict:
    """What to do about a behavior in one direction.

    Attributes:
        aim: what for, as a sentence begins: "To raise refusal".
        text: what to do.
        row: the cell that it is about; None where there is none.
    """

    aim: str
    text: str
    row: SummaryRow | None = None


def verdicts(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[Verdict]:
    """The verdict of each direction in which the rows of a behavior have a cell."""
    asked = [[row for row in rows if row.direction == direction and not row.control] for direction in DIRECTIONS]
    return [_verdict(rows, cells, contrasts) for cells in asked if cells]


def _verdict(rows: Sequence[SummaryRow], asked: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> Verdict:
    aim, best = aim_of(asked), ranked(rows, asked[0].direction or "")
    if void(rows):
        return Verdict(aim, "nothing can be said")
    if not best:
        return Verdict(aim, "no cell is usable")
    first = best[0]
    if not moved(first):
        return Verdict(aim, "use none of these: nothing moved it measurably", first)
    if doubt(first):
        return Verdict(aim, f"nothing is sure: {dosed(first, asked)} moved it, but a test speaks against it", first)
    further = [text for text, row in unmatched(asked).items() if intended(row) > intended(first)]
    beside = f"; without a dose, and further: {', '.join(further)}" if further else ""
    return Verdict(aim, _use(best, asked, contrasts) + beside, first)


def _use(best: Sequence[SummaryRow], asked: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> str:
    """The method to use, those that are as good, and those that may be."""
    first = best[0]
    of: dict[str, list[str]] = {}
    for row in best[1:]:
        contrast = between(contrasts, first.cell, row.cell)
        if contrast is not None and (contrast["verdict"] != "equivalent" or moved(row)):
            of.setdefault(contrast["verdict"], []).append(dosed(row, asked))
    text = f"use {' or '.join([dosed(first, asked), *of.get('equivalent', ())])}"
    if first.cost is not None and first.cost_ci is not None and first.cost_ci[0] > MARGIN:
        text += f", at a knowledge cost of {number(first.cost, places=2)}"
    if "undecided" in of:
        text += f"; undecided against {', '.join(of['undecided'])}"
    if "worse" in of:
        text += f"; {', '.join(of['worse'])} moved it further, but not surely"
    return text
