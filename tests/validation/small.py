"""Few clusters, few questions, small groups of a label: what intervals hold there, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from comparisons import stats
from comparisons.evaluation.contrasts import judged
from comparisons.evaluation.measures import Paired, enough
from comparisons.evaluations.choices import label_shifts
from comparisons.results.gates import gates
from comparisons.results.summary import Summary, SummaryRow
from tests.validation.families import DRAWS, MIXED, TIED, claims, holds
from tests.validation.shapes import BOUNDED, NORMAL, Shape, templates_of
from tests.validation.simulations import ALPHA, MARGIN, Sizes, Turn, runs_of

FIVES = Shape("templates of five", "as clustered, five items a template", partial(templates_of, sizes=(5,)), 0.1, (5,))
TIES = Shape(TIED.name, "a quarter moves, the others not at all", lambda r, n: TIED.draw(r, 1, n)[0], TIED.mean)
FLIPS = Shape("a tenth flips", "by .9, the others by noise of .01", lambda r, n: MIXED.draw(r, 2, n)[1], MIXED.mean)
SMALL = (
    *((FIVES, 5 * clusters) for clusters in (2, 3, 4, 5, 6, 8)),
    *((shape, items) for shape in (NORMAL, BOUNDED, TIES, FLIPS) for items in (8, 12, 16, 20, 30, 50)),
)
"""Shapes and numbers of items."""

LABELLED = (2, 4, 6, 8, 10, 20, 30, 50)
"""Items of each of two labels."""


@dataclass(frozen=True)
class Small:
    """How often the shift of one cell was held where little stands behind it.

    Attributes:
        data: shape of the shifts.
        items: questions.
        units: independent ones.
        shown: whether the table has an interval.
        bca: share of runs whose interval, shown or not, holds the mean.
        verdicts: share of runs with a verdict on the cell against the baseline.
        untrue: share of all runs with one and an interval beside it that leaves out the mean.
        wrong: share of all runs with a wrong verdict: equivalent, or worse.
        either: share of runs in which sign flips give p ≤ .05 to shifts of either sign, evenly.
        centred: likewise to the shifts less their mean.
        said: the kinds of gates of the run, whatever the shifts.
        most: the largest `untrue` asked for.
        bound: the largest `wrong` and `either` asked for.
    """

    data: str
    items: int
    units: int
    shown: bool
    bca: float
    verdicts: float
    untrue: float
    wrong: float
    either: float
    centred: float
    said: tuple[str, ...]
    most: float
    bound: float


@dataclass(frozen=True)
class Labels:
    """How often intervals about two labels held the truth.

    Attributes:
        data: shape of the shifts.
        items: of each label.
        shown: whether the report has an interval.
        own: share of intervals of one label's mean that hold it.
        difference: share of those of the labels' difference.
        least: the least asked for of both where they are shown.
    """

    data: str
    items: int
    shown: bool
    own: float
    difference: float
    least: float


def small_of(sizes: Sizes) -> Sizes:
    """Two fifths of the runs."""
    return replace(sizes, runs=max(1, 2 * sizes.runs // 5), draws=min(sizes.draws, DRAWS))


def small(sizes: Sizes, bound: float, least: float, turn: Turn) -> list[Small]:
    """Every shape with every number of items."""
    return [_small(shape, items, small_of(sizes), bound, least, turn) for shape, items in SMALL]


def _small(shape: Shape, items: int, sizes: Sizes, bound: float, least: float, turn: Turn) -> Small:
    turn(f"little: {shape.name}, {items} items")
    code = shape.clusters(items) or list(range(items))
    plain, found = 0, np.zeros(5)
    for seed, random in runs_of(sizes, f"little {shape.name} {items}"):
        values, signs = shape.draw(random, items), random.choice([-1, 1], items)[code]
        plain += holds(stats.bca_interval(values, clusters=code, draws=sizes.draws, seed=seed), shape.mean)
        (one,) = stats.contrasts([values, np.zeros(items)], clusters=code, draws=sizes.draws, seed=seed)
        verdict, reason = judged(one, MARGIN)
        evenly, mean_0 = (
            stats.sign_flip_p(each, clusters=code, draws=sizes.flips, seed=seed) <= ALPHA
            for each in (values * signs, values - shape.mean)
        )
        untrue = not claims(one, shape.mean)
        found += [reason is None, untrue, verdict in ("equivalent", "worse"), evenly, mean_0]
    units = len(set(code))
    verdicts, untrue, wrong, either, centred = (found / sizes.runs).tolist()
    return Small(
        data=shape.name,
        items=items,
        units=units,
        shown=enough(items, code),
        bca=plain / sizes.runs,
        verdicts=verdicts,
        untrue=untrue,
        wrong=wrong,
        either=either,
        centred=centred,
        said=_said(items, units),
        most=1 - least,
        bound=bound,
    )


def _said(items: int, units: int) -> tuple[str, ...]:
    """The kinds of gates of a run with so many questions."""
    plain = SummaryRow("model", "behavior", "behavior/baseline", "baseline", None, 0.0, n_items=items)
    cell = replace(plain, cell="behavior/a/pos/1", method="a", direction="pos", shift=0.1, n_clusters=units)
    return tuple(gate.kind for gate in gates(Summary((plain, cell))))


def labels(sizes: Sizes, least: float, turn: Turn) -> list[Labels]:
    """Near-normal and skewed shifts, with every number of items a label."""
    return [_label(shape, items, small_of(sizes), least, turn) for shape in (NORMAL, BOUNDED) for items in LABELLED]


def _label(shape: Shape, items: int, sizes: Sizes, least: float, turn: Turn) -> Labels:
    turn(f"labels: {shape.name}, {items} items each")
    second, own, difference = np.arange(2 * items) >= items, 0, 0
    for seed, random in runs_of(sizes, f"labels {shape.name} {items}"):
        values = shape.draw(random, 2 * items)
        own += holds(stats.bca_interval(values[:items], draws=sizes.draws, seed=seed), shape.mean)
        difference += holds(stats.difference_interval(values, second, draws=sizes.draws, seed=seed), 0.0)
    names = tuple(map(str, range(2 * items)))
    pair = Paired(names, values, values, np.zeros(2 * items), values, None)
    split = label_shifts(pair, {name: "yes" if int(name) < items else "no" for name in names}, seed=0)
    shown = split["label_differences"][0]["ci"] is not None
    return Labels(shape.name, items, shown, own / sizes.runs, difference / sizes.runs, least)
