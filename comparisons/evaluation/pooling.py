"""Methods and their contrasts over all behaviors of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comparisons import stats
from comparisons.results.findings import claim, intended, is_broken
from comparisons.results.schema import Contrast, Pooled
from comparisons.results.summary import SummaryRow
from comparisons.util.directions import DIRECTIONS, Direction

SMALLEST = 1e-9
"""A standard error below this is taken for it: questions that don't differ say nothing of their spread."""

Place = tuple[str, Direction, str, float, str | None, float | None]
"""Model, direction, a method with its strength, and another with its own; None for the unchanged model."""


@dataclass(frozen=True)
class _Effect:
    """A behavior's, towards the direction asked for."""

    behavior: str
    value: float
    error: float
    ends: Sequence[float] | None

    def beyond(self, above: bool) -> bool:
        """Whether the interval lies wholly on one side of 0."""
        return self.ends is not None and (self.ends[0] > 0 if above else self.ends[1] < 0)


def pooled(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[Pooled]:
    """The random-effects mean of every method's shift and of every contrast over the behaviors that have it.

    None with fewer than `stats.LEAST` of them. A behavior of fewer than `stats.FEWEST` independent questions is left
    out: its standard error is a guess.

    Args:
        rows: of a summary, with the errors of their shifts.
        contrasts: of it.
    """
    found = list[Pooled]()
    for of in (_shifts(rows), _differences(rows, contrasts)):
        every = dict[Place, list[_Effect]]()
        for place, effect in of:
            every.setdefault(place, []).append(effect)
        enough = {place: effects for place, effects in every.items() if len(effects) >= stats.LEAST}
        for direction in DIRECTIONS:
            places = [place for place in enough if place[1] == direction]
            found += [_pooled(place, enough[place], len(places)) for place in places]
    return found


def _shifts(rows: Sequence[SummaryRow]) -> Iterator[tuple[Place, _Effect]]:
    for row in rows:
        usable = row.direction is not None and row.shift is not None and not is_broken(row)
        if not usable or row.shift_error is None or (row.n_clusters or 0) < stats.FEWEST:
            continue
        direction: Direction = "pos" if row.direction == "pos" else "neg"
        band = claim(row)
        ends = band if band is None or direction == "pos" else [-band[1], -band[0]]
        place = row.model, direction, row.name, row.strength, None, None
        yield place, _Effect(row.behavior, intended(row), row.shift_error, ends)


def _differences(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> Iterator[tuple[Place, _Effect]]:
    cells = {row.cell: row for row in rows}
    for each in contrasts:
        a, b, value, error = cells[each["a"]], cells[each["b"]], each["difference"], each.get("error")
        if value is None or error is None or each["n_clusters"] < stats.FEWEST:
            continue
        place = a.model, each["direction"], a.name, a.strength, b.name, b.strength
        yield place, _Effect(each["behavior"], value, error, each["simultaneous_ci"])


def _pooled(place: Place, effects: Sequence[_Effect], family: int) -> Pooled:
    values, errors = [each.value for each in effects], [max(each.error, SMALLEST) for each in effects]
    own, all_ = stats.pooled(values, errors), stats.pooled(values, errors, level=1 - 0.05 / family)
    assert own is not None and all_ is not None
    turned = [each for each in effects if each.value * own.mean < 0]
    model, direction, name, strength, against, against_strength = place
    return {
        "model": model,
        "direction": direction,
        "name": name,
        "strength": strength,
        "against": against,
        "against_strength": against_strength,
        "n_behaviors": own.count,
        "mean": own.mean,
        "ci": list(own.interval),
        "simultaneous_ci": list(all_.interval),
        "tau": own.tau,
        "prediction": list(own.prediction),
        "turns": [each.behavior for each in turned],
        "turns_surely": [each.behavior for each in turned if each.beyond(own.mean < 0)],
    }
