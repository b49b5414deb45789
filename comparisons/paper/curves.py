"""Probability over signed multipliers, as the paper draws it, from the summary rows of any run or sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.method.stacks import parse_stack
from comparisons.results.findings import is_broken
from comparisons.results.summary import Summary, SummaryRow

ALONE = "alone"


@dataclass(frozen=True)
class Point:
    """One cell of a curve: the signed multiplier, p_match and its interval."""

    multiplier: float
    p_match: float
    interval: Sequence[float] | None


@dataclass(frozen=True)
class Curve:
    """One vector on one context, at all the multipliers that the run has.

    Attributes:
        behavior: its name.
        vector: the stack's last method, with its settings where several differ.
        context: what stands below it, as "a:pos"; "alone" for nothing.
        layer: of the edits.
        points: by multiplier; that at 0 is the context's own cell, or the baseline.
    """

    behavior: str
    vector: str
    context: str
    layer: int | None
    points: tuple[Point, ...]


def curves(summary: Summary) -> list[Curve]:
    """Every stack that ends in a vector and fixes the direction of what stands below it.

    A broken cell's point is left out.
    """
    found: dict[tuple[str, str, str, int | None], list[Point]] = {}
    for row in summary.rows:
        context = _context(row)
        if context is None or row.p_match is None or is_broken(row):
            continue
        sign = 1.0 if row.direction == "pos" else -1.0
        vector = row.name.removeprefix("" if context == ALONE else f"{context}+")
        found.setdefault((row.behavior, vector, context, row.layer), []).append(
            Point(sign * row.strength, row.p_match, row.p_match_ci)
        )
    made = []
    for (behavior, vector, context, layer), points in found.items():
        zero = _zero(summary.of(behavior), context)
        if zero is not None and zero.p_match is not None:
            points.append(Point(0.0, zero.p_match, zero.p_match_ci))
        made.append(Curve(behavior, vector, context, layer, tuple(sorted(points, key=lambda point: point.multiplier))))
    return made


def _context(row: SummaryRow) -> str | None:
    """What stands below a row's vector; None where the row is no such stack."""
    if row.is_baseline or row.layer is None or row.control or row.failed:
        return None
    elements = parse_stack(row.method).elements
    if elements[-1].direction is not None or any(e.direction is None for e in elements[:-1]):
        return None
    return "+".join(f"{e.name}:{e.direction}" for e in elements[:-1]) or ALONE


def _zero(rows: Sequence[SummaryRow], context: str) -> SummaryRow | None:
    if context == ALONE:
        return next((row for row in rows if row.is_baseline), None)
    name, _, direction = context.rpartition(":")
    return next((row for row in rows if (row.method, row.direction) == (name, direction)), None)
