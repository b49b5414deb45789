"""Seeds simulated: how often intervals over fits and questions hold the truth, and a method is told from itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from comparisons import stats
from comparisons.stats import FloatArray
from tests.validation.families import holds
from tests.validation.shapes import SIZES, cluster_labels
from tests.validation.simulations import Sizes, Turn, runs_of

ERROR = 0.0054
"""The questions' standard error: that of SmolLM2's sft, whose fits have a standard deviation of .0084."""

DEVIATIONS = (0.0, 0.0027, 0.0054, 0.0084, 0.02)
SEEDS = (2, 3, 5, 8)
ITEMS = 60
MEAN = 0.04


@dataclass(frozen=True)
class Seeds:
    """How often the interval of a method's mean over several fits held it, and its fits were told from further ones.

    Attributes:
        data: independent questions, or templates.
        seeds: fits.
        deviation: their standard deviation.
        covered: share of intervals with the mean.
        unaware: share of those made of the questions alone.
        different: share of runs in which the same method with as many other seeds was called different.
        least: the least `covered` asked for.
        bound: the largest `different` asked for.
    """

    data: str
    seeds: int
    deviation: float
    covered: float
    unaware: float
    different: float
    least: float
    bound: float


def seeds(sizes: Sizes, allowed: float, bound: float, turn: Turn) -> list[Seeds]:
    """Every number of fits and spread of them, with independent questions and with templates.

    Args:
        sizes: a fifth of its runs are made a row.
        allowed: Monte Carlo error of the coverage.
        bound: of how often a method may be told from itself.
        turn: told what is being simulated.
    """
    sizes = replace(sizes, runs=max(1, sizes.runs // 5), draws=min(sizes.draws, 499))
    kinds = (("independent", ()), ("templates", SIZES))
    return [
        _seeds(name, templates, count, deviation, sizes, (0.92 if count == 2 else 0.93) - allowed, bound, turn)
        for name, templates in kinds
        for count in SEEDS
        for deviation in DEVIATIONS
    ]


def _seeds(
    name: str,
    templates: tuple[int, ...],
    count: int,
    deviation: float,
    sizes: Sizes,
    least: float,
    bound: float,
    turn: Turn,
) -> Seeds:
    turn(f"seeds: {name}, {count} fits, deviation {deviation:g}")
    labels = cluster_labels(ITEMS, templates) if templates else None
    covered = unaware = different = 0
    for seed, random in runs_of(sizes, f"seeds {name} {count} {deviation}"):
        fits = _fits(random, 2 * count, deviation, labels)
        one, other = fits[:count], fits[count:]
        table = np.stack([one.mean(axis=0), other.mean(axis=0), np.zeros(ITEMS)])
        spreads = [stats.seed_spread(part, clusters=labels) for part in (one, other)]
        pairs, draws = [(0, 2), (0, 1)], sizes.draws
        (plain,) = stats.contrasts(table, pairs[:1], clusters=labels, draws=draws, seed=seed)
        mean, itself = (
            stats.contrasts(table, [pair], clusters=labels, seeds=[*spreads, None], draws=draws, seed=seed)[0]
            for pair in pairs
        )
        covered += holds(mean.interval, MEAN)
        unaware += holds(plain.interval, MEAN)
        different += not holds(itself.simultaneous, 0.0)
    runs = sizes.runs
    return Seeds(name, count, deviation, covered / runs, unaware / runs, different / runs, least, bound)


def _fits(random: np.random.Generator, count: int, deviation: float, labels: list[int] | None) -> FloatArray:
    """[fits, items]: what questions, fits, and each fit's own way with a question add; clusters share half."""
    spread = ERROR * math.sqrt(ITEMS)
    own, within = random.normal(0, spread, ITEMS), random.normal(0, spread / 2, (count, ITEMS))
    if labels is not None:
        own = math.sqrt(0.5) * (own + random.normal(0, spread, max(labels) + 1)[labels])
        within = math.sqrt(0.5) * (within + random.normal(0, spread / 2, (count, max(labels) + 1))[:, labels])
    fits: FloatArray = MEAN + own + within + random.normal(0, deviation, (count, 1))
    return fits
