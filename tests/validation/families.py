"""Contrasts simulated: how often a family finds a difference that isn't there, and intervals hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np

from comparisons import stats
from comparisons.evaluation.contrasts import too_little
from comparisons.results.gates import too_skewed
from comparisons.stats import FloatArray
from tests.validation.shapes import BOUNDED, DEVIATION, SIZES, WITHIN, cluster_labels, expected_p, sigmoid
from tests.validation.simulations import Sizes, Turn, runs_of

SHARED = 0.8
"""The share of an item's variance that all cells have in common."""

CELLS = 8


@dataclass(frozen=True)
class Family:
    """How often the contrasts of a table in which all cells do the same were wrong.

    Attributes:
        data: shape of the differences.
        items: that the cells share.
        units: independent ones.
        wrong: share of tables with a simultaneous interval that leaves out 0.
        covered: share of contrasts whose own interval holds 0.
        held: share of tables whose simultaneous intervals of the shifts hold the true one in every cell.
        named: share of tables in which a report names a shift as too skewed for its questions.
        bound: the largest `wrong` asked for; None where none is.
        least: the least `covered` asked for.
    """

    data: str
    items: int
    units: int
    wrong: float
    covered: float
    held: float
    named: float
    bound: float | None
    least: float | None


@dataclass(frozen=True)
class Cells:
    """A way to draw cells that all do the same.

    Attributes:
        name: in the tables.
        draw: a generator, a number of cells and one of items to [cells, items].
        mean: the true shift of each.
        templates: as for `Shape`.
    """

    name: str
    draw: Callable[[np.random.Generator, int, int], FloatArray]
    mean: float
    templates: tuple[int, ...] = ()


def _alike(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    """[cells, items] standard normal, of which the cells share `SHARED`."""
    shared, own = random.normal(size=items), random.normal(size=(cells, items))
    return math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own


def _normal(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    return 0.1 + DEVIATION * _alike(random, cells, items)


def _clustered(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    labels = cluster_labels(items, SIZES)
    between = _alike(random, cells, labels[-1] + 1)[:, labels]
    return 0.1 + DEVIATION * (math.sqrt(WITHIN) * between + math.sqrt(1 - WITHIN) * _alike(random, cells, items))


def _bounded(random: np.random.Generator, cells: int, items: int, mean: float = -4) -> FloatArray:
    before = random.normal(mean, 2, items)
    return sigmoid(before + 1 + _alike(random, cells, items)) - sigmoid(before)


def _tied(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    moves = random.random((cells, items)) < 0.25
    return np.where(moves, random.normal(0.4, DEVIATION, (cells, items)), 0.0)


def _mixed(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    flips = np.where(random.random((cells, items)) < 0.1, 0.9, 0.0) + random.normal(0, 0.01, (cells, items))
    flips[: cells // 2] = 0.09 + DEVIATION * _alike(random, cells // 2, items)
    return flips


NORMAL, CLUSTERED = Cells("near-normal", _normal, 0.1), Cells("clustered", _clustered, 0.1, SIZES)
SKEWED = Cells("bounded, skewed", _bounded, BOUNDED.mean)
MORE_SKEWED = Cells(
    "bounded, more skewed", partial(_bounded, mean=-6), expected_p(-5, math.sqrt(5)) - expected_p(-6, 2)
)
TIED, MIXED = Cells("ties: a quarter moves", _tied, 0.1), Cells("half normal, half rare flips", _mixed, 0.09)

FAMILIES = (
    *((CLUSTERED, items) for items in (29, 60, 100, 150)),
    *((NORMAL, items) for items in (20, 50, 200)),
    *((SKEWED, items) for items in (20, 30, 50, 200)),
    *((MORE_SKEWED, items) for items in (30, 50, 100)),
    *((shape, items) for shape in (TIED, MIXED) for items in (20, 50, 200)),
)
"""Shapes and numbers of items; 29, 60, 100 and 150 items are 6, 12, 20 and 30 templates."""


DRAWS = 999
"""Bootstrap draws at most."""


def tables_of(sizes: Sizes) -> Sizes:
    """A fifth of the runs: each has 28 contrasts."""
    return replace(sizes, runs=max(1, sizes.runs // 5), draws=min(sizes.draws, DRAWS))


def families(sizes: Sizes, bound: float, least: float, turn: Turn) -> list[Family]:
    """Every shape and number of items."""
    return [_family(shape, items, tables_of(sizes), bound, least, turn) for shape, items in FAMILIES]


def _family(shape: Cells, items: int, sizes: Sizes, bound: float, least: float, turn: Turn) -> Family:
    turn(f"contrasts: {shape.name}, {items} items")
    labels = cluster_labels(items, shape.templates) if shape.templates else None
    pairs, wrong, covered, held, named = list(combinations(range(CELLS), 2)), 0, 0, 0, 0
    for seed, random in runs_of(sizes, f"contrasts {shape.name} {items}"):
        table = np.vstack([shape.draw(random, CELLS, items), np.zeros(items)])
        found = stats.contrasts(table, pairs, clusters=labels, draws=sizes.draws, seed=seed)
        wrong += not all(claims(each, 0.0) for each in found)
        covered += sum(holds(each.interval, 0.0) for each in found)
        shifts = [(cell, CELLS) for cell in range(CELLS)]
        band = stats.contrasts(table, shifts, clusters=labels, draws=sizes.draws, seed=seed)
        held += all(claims(each, shape.mean) for each in band)
        named += any(too_little(each) is None and too_skewed(each.units, each.skewness) for each in band)
    units = items if labels is None else len(set(labels))
    runs = sizes.runs
    counts = (wrong / runs, covered / runs / len(pairs), held / runs, named / runs)
    return Family(shape.name, items, units, *counts, bound, least)


def claims(contrast: stats.Contrast, truth: float) -> bool:
    """Whether what a report claims by a contrast holds the truth; where it claims nothing it does."""
    return too_little(contrast) is not None or holds(contrast.simultaneous, truth)


def holds(interval: stats.Interval | None, truth: float) -> bool:
    """Whether an interval holds the truth; without one nothing is claimed."""
    return interval is None or interval.low <= truth <= interval.high
