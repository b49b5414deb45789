"""Pooling simulated: how often intervals over behaviors hold the mean, and where the next behavior's effect lies."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons import stats
from tests.validation.simulations import Sizes, Turn, runs_of

MEAN = 0.1
ERRORS = (0.02, 0.08)
"""The least and the largest standard error of a behavior's effect; each is drawn evenly between them."""


@dataclass(frozen=True)
class Behaviors:
    """How often the intervals over some behaviors held what they are about.

    Attributes:
        behaviors: how many.
        tau: the standard deviation between them.
        covered: share of intervals with the mean.
        predicted: share of prediction intervals with the effect in one more behavior.
        fixed: share of intervals with the mean that take the behaviors to be alike.
        least: the least `covered` asked for.
    """

    behaviors: int
    tau: float
    covered: float
    predicted: float
    fixed: float
    least: float


def behaviors(sizes: Sizes, least: float, turn: Turn) -> list[Behaviors]:
    """Every number of behaviors and spread of them."""
    turn("behaviors pooled")
    return [_behaviors(sizes, count, tau, least) for count in (3, 5, 7) for tau in (0.0, 0.05, 0.2)]


def _behaviors(sizes: Sizes, count: int, tau: float, least: float) -> Behaviors:
    covered = predicted = fixed = 0
    for _, random in runs_of(sizes, f"behaviors {count} {tau}"):
        errors = random.uniform(*ERRORS, count)
        effects = MEAN + random.normal(0, tau, count) + random.normal(0, errors)
        found = stats.pooled(effects.tolist(), errors.tolist())
        assert found is not None
        covered += found.interval.low <= MEAN <= found.interval.high
        predicted += found.prediction.low <= MEAN + random.normal(0, tau) <= found.prediction.high
        weights = errors**-2
        fixed += abs(weights @ effects / weights.sum() - MEAN) <= 1.96 / weights.sum() ** 0.5
    runs = sizes.runs
    return Behaviors(count, tau, covered / runs, predicted / runs, fixed / runs, least)
