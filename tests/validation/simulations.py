"""The simulations: how often intervals hold the truth, tests cry wolf, and shifts are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from comparisons import stats
from comparisons.stats.intervals import expanded_tail
from tests.validation.shapes import LIMITS, NORMAL, NULLS, SHAPES, Null, Shape

ALPHA = 0.05
MARGIN = 0.02
CORRECTED = ("holm", "max_t")


@dataclass(frozen=True)
class Sizes:
    """How much is simulated.

    Attributes:
        runs: data sets for each row.
        draws: bootstrap draws for each interval.
        flips: sign patterns for each p-value.
        items: numbers of items for coverage and power.
        cells: sizes of the tables.
        table_items: items of the tables.
        multiples: true shifts of the power curves, in minimum detectable shifts.
        seed: of everything.
    """

    runs: int = 5000
    draws: int = 2000
    flips: int = 1999
    items: tuple[int, ...] = (50, 100, 200)
    cells: tuple[int, ...] = (8, 56)
    table_items: int = 100
    multiples: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    seed: int = 0


@dataclass(frozen=True)
class Coverage:
    """How often the 95% interval held the true mean.

    Attributes:
        shape: of the data.
        items: of each data set.
        units: independent ones: items, or templates.
        covered: share of runs.
        low: share of runs whose interval lay below the truth.
        high: share of runs whose interval lay above it.
        plain: share covered by BCa without expanded tails.
        bound: the least share asked for; None where none is.
    """

    shape: str
    items: int
    units: int
    covered: float
    low: float
    high: float
    plain: float
    bound: float | None


@dataclass(frozen=True)
class FalsePositives:
    """How often a table in which nothing happens had a cell with p at most .05.

    Attributes:
        null: shape of the data.
        cells: of the table.
        items: that the cells share.
        raw: share of tables, without correction.
        holm: share of tables after Holm.
        max_t: share of tables after max-T.
        bound: the largest share asked for; None where none is.
    """

    null: str
    cells: int
    items: int
    raw: float
    holm: float
    max_t: float
    bound: float | None


@dataclass(frozen=True)
class Power:
    """How often a shift was found at p at most .05.

    Attributes:
        shape: of the data.
        items: of each data set.
        units: independent ones.
        detectable: the median over data sets of the minimum detectable shift.
        shifts: true ones.
        found: for each the share of runs.
    """

    shape: str
    items: int
    units: int
    detectable: float
    shifts: tuple[float, ...]
    found: tuple[float, ...]


Turn = Callable[[str], None]


def coverage(sizes: Sizes, bound: float, turn: Turn) -> list[Coverage]:
    """The shapes that are held to the bound at every number of items, then those that are not."""
    held = [_covered(shape, items, sizes, bound, turn) for shape in SHAPES for items in sizes.items]
    return held + [_covered(shape, items, sizes, None, turn) for shape, items in LIMITS]


def _covered(shape: Shape, items: int, sizes: Sizes, bound: float | None, turn: Turn) -> Coverage:
    turn(f"coverage: {shape.name}, {items} items")
    labels = shape.clusters(items)
    units = items if labels is None else len(set(labels))
    low = high = plain = 0
    for seed, random in runs_of(sizes, f"coverage {shape.text} {items}"):
        values = shape.draw(random, items)
        mine = stats.bca_interval(values, clusters=labels, draws=sizes.draws, seed=seed)
        bare = stats.bca_interval(values, clusters=labels, draws=sizes.draws, seed=seed, level=plain_level(units))
        assert mine is not None and bare is not None
        low, high = low + (mine.high < shape.mean), high + (mine.low > shape.mean)
        plain += bare.low <= shape.mean <= bare.high
    runs = sizes.runs
    return Coverage(shape.name, items, units, 1 - (low + high) / runs, low / runs, high / runs, plain / runs, bound)


@lru_cache
def plain_level(units: int) -> float:
    """The level at which `bca_interval` with its expanded tails is plain BCa at .95."""
    aim, low, high = NormalDist().inv_cdf(0.975), 0.5, 0.95
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expanded_tail(middle, units) < aim else (low, middle)
    return low


def false_positives(sizes: Sizes, bound: float, turn: Turn) -> list[FalsePositives]:
    """Every null with every size of table; one that isn't symmetric has no bound."""
    return [
        _false_positives(null, cells, sizes, bound if null.symmetric else None, turn)
        for null in NULLS
        for cells in sizes.cells
    ]


def _false_positives(null: Null, cells: int, sizes: Sizes, bound: float | None, turn: Turn) -> FalsePositives:
    turn(f"false positives: {null.name}, {cells} cells")
    items = sizes.table_items
    labels = replace(NORMAL, templates=null.templates).clusters(items)
    hits = np.zeros(3)
    for seed, random in runs_of(sizes, f"false positives {null.name} {cells}"):
        table = null.draw(random, cells, items)
        raw = stats.sign_flip_ps(list(table), clusters=labels, draws=sizes.flips, seed=seed)
        by_max_t = stats.max_t(table, clusters=labels, draws=sizes.flips, seed=seed)
        hits += [_any(raw), _any(stats.holm(raw)), _any(by_max_t)]
    raw_rate, holm_rate, max_t_rate = (float(hit) / sizes.runs for hit in hits)
    return FalsePositives(null.name, cells, items, raw_rate, holm_rate, max_t_rate, bound)


def _any(p_values: list[float] | list[float | None]) -> bool:
    return any(p is not None and p <= ALPHA for p in p_values)


def power(sizes: Sizes, turn: Turn) -> list[Power]:
    """A curve for each shape and number of items."""
    return [_power(shape, items, sizes, turn) for shape in SHAPES for items in sizes.items]


def _power(shape: Shape, items: int, sizes: Sizes, turn: Turn) -> Power:
    turn(f"power: {shape.name}, {items} items")
    labels = shape.clusters(items)
    planned = [
        stats.minimum_detectable_shift(shape.draw(random, items), clusters=labels)
        for _, random in runs_of(replace(sizes, runs=min(sizes.runs, 1000)), f"planning {shape.name} {items}")
    ]
    detectable = float(np.median([shift for shift in planned if shift is not None]))
    shifts = [multiple * detectable for multiple in sizes.multiples]
    found = np.zeros(len(shifts))
    for seed, random in runs_of(sizes, f"power {shape.name} {items}"):
        noise = shape.draw(random, items) - shape.mean
        for place, shift in enumerate(shifts):
            found[place] += stats.sign_flip_p(noise + shift, clusters=labels, draws=sizes.flips, seed=seed) <= ALPHA
    units = items if labels is None else len(set(labels))
    return Power(shape.name, items, units, detectable, tuple(shifts), tuple((found / sizes.runs).tolist()))


def runs_of(sizes: Sizes, name: str) -> Iterator[tuple[int, np.random.Generator]]:
    """For each run a seed for the estimator and a generator for the data, the same whatever else is simulated."""
    random = np.random.default_rng([sizes.seed, *name.encode()])
    for seed in random.integers(0, 2**32, sizes.runs):
        yield int(seed), random
