"""Data with a known mean, in the shapes that shifts have; and tables of cells in which nothing happens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from comparisons.stats import FloatArray

Draw = Callable[[np.random.Generator, int], FloatArray]

DEVIATION = 0.3
WITHIN = 0.3
"""Intra-cluster correlation: the share of an item's variance that its template sets."""

SIZES = (3, 5, 7, 4, 6)
"""Items of the templates, in turn: five on average."""


@dataclass(frozen=True)
class Shape:
    """A way to draw one shift an item.

    Attributes:
        name: in the tables.
        text: what is drawn.
        draw: a generator and a number of items to [items].
        mean: the true mean.
        templates: sizes of the templates, in turn; empty where items are independent.
    """

    name: str
    text: str
    draw: Draw
    mean: float
    templates: tuple[int, ...] = ()

    def clusters(self, items: int) -> list[int] | None:
        """The template of each item; None where items are independent."""
        return cluster_labels(items, self.templates) if self.templates else None


def cluster_labels(items: int, sizes: tuple[int, ...]) -> list[int]:
    """Labels of templates of these sizes in turn; the last one may be cut short."""
    rounds = -(-items // sum(sizes))
    labels: list[int] = np.repeat(np.arange(rounds * len(sizes)), sizes * rounds)[:items].tolist()
    return labels


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(−logit))."""
    p: FloatArray = 1 / (1 + np.exp(-logits))
    return p


def expected_p(mean: float, deviation: float) -> float:
    """The mean of sigmoid(z) for a normal z, by Gauss-Hermite quadrature."""
    places, weights = np.polynomial.hermite_e.hermegauss(120)
    return float(weights @ sigmoid(mean + deviation * places) / math.sqrt(2 * math.pi))


def _normal(random: np.random.Generator, items: int) -> FloatArray:
    return random.normal(0.1, DEVIATION, items)


def _bounded(random: np.random.Generator, items: int) -> FloatArray:
    before = random.normal(-4, 2, items)
    return sigmoid(before + random.normal(1, 1, items)) - sigmoid(before)


def templates_of(random: np.random.Generator, items: int, sizes: tuple[int, ...] = SIZES) -> FloatArray:
    labels = cluster_labels(items, sizes)
    between = random.normal(0, DEVIATION * math.sqrt(WITHIN), labels[-1] + 1)
    return 0.1 + between[labels] + random.normal(0, DEVIATION * math.sqrt(1 - WITHIN), items)


def _few(random: np.random.Generator, items: int) -> FloatArray:
    return templates_of(random, items, FEW)


def _rare(random: np.random.Generator, items: int) -> FloatArray:
    return np.where(random.random(items) < 0.04, 0.9, 0.0) + random.normal(0, 0.01, items)


FEW = (10,)
NORMAL = Shape("near-normal", "normal, mean .1, standard deviation .3", _normal, 0.1)
BOUNDED = Shape(
    "bounded, skewed",
    "p of the cell − p of the baseline; the baseline's logits are normal with mean −4 and standard deviation 2, the "
    "cell adds a normal one with mean 1 and standard deviation 1 (skewness 2.0)",
    _bounded,
    expected_p(-3, math.sqrt(5)) - expected_p(-4, 2),
)
CLUSTERED = Shape(
    "clustered",
    "templates of 3 to 7 items, mean .1, standard deviation .3, intra-cluster correlation .3",
    templates_of,
    0.1,
    SIZES,
)
SHAPES = (NORMAL, BOUNDED, CLUSTERED)
"""The shapes that the intervals are held to."""

LIMITS = (
    (Shape("clusters of ten", "as clustered, ten items a template", _few, 0.1, FEW), 50),
    (Shape("clusters ignored", "as clustered, its interval made as if items were independent", templates_of, 0.1), 100),
    (Shape("rare flips", "4 items in 100 move by .9, the others by noise of .01", _rare, 0.036), 50),
    (Shape("rare flips", "the same", _rare, 0.036), 200),
)
"""Shapes and numbers of items with which an interval of a mean has trouble, shown without a bound."""


@dataclass(frozen=True)
class Null:
    """A table in which nothing happens: each cell's differences have the mean 0.

    Attributes:
        name: in the tables.
        draw: a generator, a number of cells and one of items to [cells, items].
        templates: as for `Shape`.
        symmetric: whether a difference is as likely with either sign, which sign flips take for granted.
    """

    name: str
    draw: Callable[[np.random.Generator, int, int], FloatArray]
    templates: tuple[int, ...] = ()
    symmetric: bool = True


def _mixed(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    """Half of the variance of each item belongs to the item, and half to its cell as well."""
    return math.sqrt(0.5) * (random.normal(size=items) + random.normal(size=(cells, items)))


def _null_normal(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    return DEVIATION * _mixed(random, cells, items)


def _null_bounded(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    logits = random.normal(-4, 2, items)
    return sigmoid(logits + random.normal(size=(cells, items))) - sigmoid(logits + random.normal(size=items))


def _null_clustered(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    labels = cluster_labels(items, SIZES)
    between = _mixed(random, cells, labels[-1] + 1)[:, labels]
    return DEVIATION * (math.sqrt(WITHIN) * between + math.sqrt(1 - WITHIN) * _mixed(random, cells, items))


def _null_skewed(random: np.random.Generator, cells: int, items: int) -> FloatArray:
    before = random.normal(-4, 2, items)
    return sigmoid(before + random.normal(1, 1, (cells, items))) - sigmoid(before) - BOUNDED.mean


NULLS = (
    Null("near-normal", _null_normal),
    Null("bounded, heavy tails", _null_bounded),
    Null("clustered", _null_clustered, SIZES),
    Null("skewed", _null_skewed, symmetric=False),
)
