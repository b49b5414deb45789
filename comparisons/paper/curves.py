"""Probability over signed multipliers, as the paper draws it, from the summary rows of any run or sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.method.stacks import parse_stack
from comparisons.report.sweep import multiplier
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
    points: dict[tuple[str, str, str, int | None], list[Point]] = {}
    for row in summary.rows:
        context = _context(row)
        if context is None or row.p_match is None or is_broken(row):
            continue
        vector = row.name.removeprefix("" if context == ALONE else f"{context}+")
        point = Point(multiplier(row), row.p_match, row.p_match_ci)
        points.setdefault((row.behavior, vector, context, row.layer), []).append(point)
    drawn = []
    for (behavior, vector, context, layer), measured in points.items():
        zero = _zero(summary.of(behavior), context)
        if zero is not None and zero.p_match is not None:
            measured.append(Point(0.0, zero.p_match, zero.p_match_ci))
        in_order = sorted(measured, key=lambda point: point.multiplier)
        drawn.append(Curve(behavior, vector, context, layer, tuple(in_order)))
    return drawn


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
