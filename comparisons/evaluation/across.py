"""Numbers that take several cells: p-values of the joint table, stacks against their parts, slopes over strengths."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from comparisons import stats
from comparisons.evaluation.measures import ItemMeasures, Paired, clusters, enough
from comparisons.experiment.specification import Cell
from comparisons.results.schema import Interaction, Steerability

JOINT_DRAWS = 20_000
"""Sign patterns of the joint table: its smallest p-value is 1 in 20,001, for a table of any size."""


def joint_p_values(pairs: Mapping[tuple[str, str], Paired], seed: int) -> dict[str, float | None]:
    """Max-T over the whole table, by cell; see `stats.max_t`.

    An item's sign flips in all cells of its behavior at once. Items of two behaviors are different items and flip
    by themselves, which makes the maximum over the table the joint one of independent behaviors.

    Args:
        pairs: by behavior and cell.
        seed: of the flips.
    """
    places: dict[tuple[str, str], int] = {}
    groups: list[Hashable] = []
    for (behavior, _), pair in pairs.items():
        for index, item in enumerate(pair.items):
            if (behavior, item) not in places:
                places[behavior, item] = len(groups)
                groups.append((behavior, pair.clusters[index] if pair.clusters else ("item", item)))
    if not groups:
        return {}
    table = np.full((len(pairs), len(groups)), np.nan)
    for row, ((behavior, _), pair) in zip(table, pairs.items(), strict=True):
        row[[places[behavior, item] for item in pair.items]] = pair.difference
    found = stats.max_t(table, clusters=groups, draws=JOINT_DRAWS, seed=seed)
    both = zip(pairs.items(), found, strict=True)
    return {cell: None if p is None else pair.p_value(p) for ((_, cell), pair), p in both}


def parts_of(stack: Cell, cells: Sequence[Cell]) -> list[Cell] | None:
    """The cells with each element of a stack alone, in its settings, direction and dose; None unless all are there."""
    if len(stack.elements) < 2:
        return None
    found = []
    for element in stack.elements:
        alone = [
            cell
            for cell in cells
            if cell.behavior == stack.behavior
            and len(cell.elements) == 1
            and (cell.elements[0].name, cell.elements[0].direction) == (element.name, element.direction)
            and (cell.elements[0].strength, cell.elements[0].method) == (element.strength, element.method)
        ]
        if not alone:
            return None
        found.append(alone[0])
    return found


def stack_interaction(
    stack: ItemMeasures,
    parts: Sequence[ItemMeasures],
    baseline: ItemMeasures,
    templates: Mapping[str, str | None],
    seed: int,
) -> Interaction | None:
    """A stack's shift beyond the sum of its parts' shifts: "shift", "ci", "p_value", "content_shift", "content_ci"."""
    everyone = [stack, *parts, baseline]
    items = [item for item in stack.items if all(item in set(one.items) for one in everyone)]
    if not items:
        return None
    places = [[one.items.index(item) for item in items] for one in everyone]
    groups, found = clusters(items, templates), []
    for values in ([one.p_match for one in everyone], [one.content for one in everyone]):
        whole, *alone, plain = [value[place] for value, place in zip(values, places, strict=True)]
        found.append(stats.interaction(whole, alone, plain, clusters=groups, seed=seed))
    (shift, content), sure = found, enough(len(items), groups)
    return {
        "shift": shift.mean,
        "ci": bounds(shift.interval) if sure else None,
        "p_value": shift.p_value,
        "content_shift": content.mean,
        "content_ci": bounds(content.interval) if sure else None,
    }


def steerability(
    doses: Mapping[float, ItemMeasures], templates: Mapping[str, str | None], seed: int
) -> Steerability | None:
    """How each item's content logit follows the signed strength; see `stats.steerability`.

    Args:
        doses: by signed strength, the baseline at 0.
        templates: of the items.
        seed: of the interval.
    """
    strengths = sorted(doses)
    items = [i for i in doses[0.0].items if all(i in set(one.items) for one in doses.values())]
    if len({abs(strength) for strength in strengths} - {0.0}) < 2 or not items:
        return None
    content = [[doses[strength].content[doses[strength].items.index(item)] for strength in strengths] for item in items]
    groups = clusters(items, templates)
    found = stats.steerability(content, strengths, clusters=groups, seed=seed)
    return {
        "strengths": strengths,
        "slope": found.mean,
        "ci": bounds(found.interval) if enough(len(items), groups) else None,
        "quantiles": list(found.quantiles),
        "spearman": found.spearman,
        "anti_steerable": found.anti_steerable,
    }


def bounds(interval: stats.Interval | None, most: float = math.inf) -> list[float] | None:
    """[low, high], within ± the largest value that there can be; None where there is none."""
    return None if interval is None else [max(-most, interval.low), min(most, interval.high)]
