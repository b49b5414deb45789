"""What several runs have of one cell: the same, or fits of it by other seeds, whose numbers are then made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from comparisons import stats
from comparisons.evaluation.interface import NOISE, MeasuredRows
from comparisons.evaluation.measures import seed_of
from comparisons.evaluation.questions import CHOICES, KNOWLEDGE
from comparisons.evaluations.choices import level_numbers, shift_numbers
from comparisons.evaluations.knowledge import cost_numbers
from comparisons.results.findings import MARGIN
from comparisons.results.schema import Noise
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError

Rows = list[dict[str, Any]]
CellFile = tuple[Rows, dict[str, Any]]
"""A cell's rows, and what is kept beside them."""

ASKED = (CHOICES, KNOWLEDGE)
"""What every fit is asked; of all else a joint cell has the first run's."""


EQUAL = 1e-6
"""How near two runs' numbers on one cell must be to be of the same cell."""

PARTED = 3
"""The same in 16 bits: the mean difference, in the numerical noise that either has against float32."""


def check_settings(known: SummaryRow, row: SummaryRow, path: Path) -> None:
    """Raises CompareError where two runs have a cell of one name and other settings."""
    if known.settings != row.settings:
        named = ", ".join(k for k in {**known.settings, **row.settings} if known.settings.get(k) != row.settings.get(k))
        raise CompareError(f"{path} has a cell {row.cell} with other settings ({named}): leave one run out.")


def check_same(cell: str, rows: Rows, others: Rows, path: Path, noise: Noise | None) -> float:
    """Checks that two runs have the same numbers on a cell, or in few bits numbers that rounding may part.

    Args:
        cell: its name.
        rows: the first run's.
        others: the other's.
        path: the other.
        noise: of the model's p_match; None in float32.

    Returns:
        The mean difference of their p_match; 0 where they are equal.

    Raises:
        CompareError: they are others.
    """

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["evaluation"], row["item"], row["order"], row.get("seed")

    before, after = ({key(row): row["p_match"] for row in run if row["p_match"] is not None} for run in (rows, others))
    parted = {each: abs(before[each] - after[each]) for each in before if each in after}
    mean, (first, largest) = fmean(parted.values() or [0.0]), max(parted.items(), key=itemgetter(1), default=((), 0.0))
    if largest > EQUAL and (noise is None or mean > PARTED * noise["mean"]):
        raise CompareError(
            f"{path} has other numbers for {cell} (item {first[1]}): they are not of one model, machine and "
            "training pairs; see compare diff."
        )
    return mean if largest > EQUAL else 0.0


def with_more(cell: CellFile, rows: Rows) -> CellFile:
    """A baseline's file with the evaluations that only another run's rows have."""
    known = {row["evaluation"] for row in cell[0]}
    return [*cell[0], *(row for row in rows if row["evaluation"] not in known)], cell[1]


def further(known: CellFile, other: CellFile, cell: str, path: Path) -> CellFile | None:
    """Both files as one, where their fits have other seeds; None where they are of the same or have none.

    Raises:
        CompareError: they share some.
    """
    seeds, more = (tuple(info.get("seeds") or ()) for _, info in (known, other))
    if not (seeds and more) or seeds == more:
        return None
    if shared := sorted({*seeds} & {*more}):
        raise CompareError(f"{path} has a fit of {cell} by seed {shared[0]}, as another run has: leave one out.")
    rows = [*_named(known[0], seeds[0]), *(row for row in _named(other[0], more[0]) if row["evaluation"] in ASKED)]
    return rows, {**known[1], "seeds": [*seeds, *more]}


def _named(rows: Sequence[Mapping[str, Any]], seed: int) -> Rows:
    """The rows, each with the seed of its fit."""
    return [{**row, "seed": row.get("seed", seed)} for row in rows]


def measured_anew(row: SummaryRow, cell: CellFile, baseline: CellFile, seed: int) -> SummaryRow:
    """The summary row with what all fits of its cell were asked.

    Args:
        row: of the first fits.
        cell: the file of all.
        baseline: that of its baseline.
        seed: the run's.
    """
    own, plain = MeasuredRows(*cell), MeasuredRows(*baseline)
    measure, noise, own_seed = row.measure or "letters", plain.info.get(NOISE), seed_of(seed, str(row.id.alone))
    found = level_numbers(own, measure, noise, own_seed)
    found |= shift_numbers(own, plain, row.direction, measure, noise, own_seed)
    if row.cost is not None:
        pair = own.against(plain, KNOWLEDGE, noise)
        test = row.cost_test
        margin, limit, chance = (test["margin"], test["limit"], test["chance"]) if test else (MARGIN, None, None)
        found |= {"knowledge": float(own.measures(KNOWLEDGE).p_match.mean())}
        found |= cost_numbers(pair, own_seed, margin, limit, chance)
    pair = own.against(plain, CHOICES, noise)
    (p_value,) = stats.sign_flip_ps([pair.difference], clusters=pair.clusters, seed=seed_of(seed, row.behavior))
    found |= dict.fromkeys(("labels", "label_differences", "knowledge_by_category", "side_effects"))
    return replace(row, **found, p_value=pair.p_value(p_value))
