"""The paper's figures from any run or sweep: probability over signed multipliers, by layer, label and category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.method.stacks import parse_stack
from comparisons.report.panels import Panel, key, shortened
from comparisons.report.sweep import multiplier
from comparisons.results.findings import is_broken
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import COLORS, GREY, MARKERS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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


Points = tuple[tuple[float, float, Sequence[float] | None], ...]
"""Place, number and interval of each point of a line."""


@dataclass(frozen=True)
class LinesPanel(Panel):
    """Lines of p_match with intervals, a colour and marker a name.

    Attributes:
        lines: names and points.
        names: of all lines of the figure, in the legend's order.
        x_text, y_text: what the axes say.
        wide: one panel a row.
    """

    lines: tuple[tuple[str, Points], ...]
    names: tuple[str, ...]
    x_text: str = "multiplier"
    wide: bool = False
    y_text: str = "p_match"

    @property
    def y_label(self) -> str:  # type: ignore[override]
        return self.y_text

    @property
    def x_label(self) -> str:  # type: ignore[override]
        return self.x_text

    @property
    def height(self) -> float:
        return 3.4 if self.wide else 2.5

    @property
    def columns(self) -> int:
        return 1 if self.wide else 2

    def draw(self, axes: Axes) -> None:
        probability = self.y_text == "p_match"
        axes.axhline(0.5 if probability else 0.0, color=GREY, linewidth=0.6, linestyle=":")
        axes.grid(color="#eeeeee", linewidth=0.6)
        for name, points in self.lines:
            look = _look(self.names.index(name))
            x, y = [point[0] for point in points], [point[1] for point in points]
            axes.plot(x, y, **look, markersize=4.5, linewidth=1.3)
            for place, _, ends in points:
                if ends is not None:
                    axes.plot((place, place), ends, color=look["color"], linewidth=0.8, alpha=0.7)
        if probability:
            axes.set_ylim(-0.03, 1.03)
        ticks = sorted({point[0] for _, points in self.lines for point in points})
        if len(ticks) <= 9:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])

    def handles(self) -> list[Artist]:
        return [key(shortened(name), **_look(i), markersize=4.5) for i, name in enumerate(self.names)]


@dataclass(frozen=True)
class CategoryPanel(Panel):
    """Knowledge by category: a row a category, a dot a multiplier."""

    rows: tuple[SummaryRow, ...]
    categories: tuple[str, ...]

    x_label: ClassVar[str] = "probability of the correct choice"

    @property
    def height(self) -> float:
        return 0.6 + 0.17 * len(self.categories)

    @property
    def columns(self) -> int:
        return 1

    def draw(self, axes: Axes) -> None:
        axes.grid(color="#eeeeee", linewidth=0.6)
        for number, row in enumerate(self.rows):
            by_category = row.knowledge_by_category or {}
            places = [i for i, name in enumerate(self.categories) if name in by_category]
            values = [by_category[self.categories[i]]["knowledge"] for i in places]
            axes.plot(values, places, **_look(number), linestyle="none", markersize=4)
        axes.set_yticks(range(len(self.categories)), [name.replace("_", " ") for name in self.categories], fontsize=7)
        axes.set_ylim(len(self.categories) - 0.4, -0.6)

    def handles(self) -> list[Artist]:
        return [key(_cell(row), **_look(i), linestyle="none") for i, row in enumerate(self.rows)]


def _look(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def _cell(row: SummaryRow) -> str:
    if row.is_baseline:
        return "baseline"
    return f"{shortened(row.name)} at {'+' if row.direction == 'pos' else '-'}{row.strength:g}"


def _points(curve: Curve) -> Points:
    return tuple((point.multiplier, point.p_match, point.interval) for point in curve.points)


def multiplier_panels(curves: Sequence[Curve]) -> list[LinesPanel]:
    """A panel a behavior and vector: its curve on each context. A sweep's many layers have a figure of their own."""
    shown = [curve for curve in curves if len(curve.points) > 1 and not _swept(curve, curves)]
    names = tuple(dict.fromkeys(curve.context for curve in shown))
    lines: dict[str, list[tuple[str, Points]]] = {}
    for curve in shown:
        lines.setdefault(f"{curve.behavior}: {curve.vector}", []).append((curve.context, _points(curve)))
    return [LinesPanel(title, tuple(of_vector), names) for title, of_vector in lines.items()]


def _family(curve: Curve) -> str:
    """The vector's method, without settings."""
    return curve.vector.partition(" ")[0]


def _swept(curve: Curve, curves: Sequence[Curve]) -> bool:
    same = [c for c in curves if (c.behavior, c.context) == (curve.behavior, curve.context)]
    return len({c.layer for c in same if _family(c) == _family(curve)}) > 3


def behavior_panels(curves: Sequence[Curve]) -> list[LinesPanel]:
    """All behaviors over multipliers in one panel a vector, without a context."""
    shown = [c for c in curves if c.context == ALONE and len(c.points) > 1 and not _swept(c, curves)]
    behaviors = tuple(dict.fromkeys(curve.behavior for curve in shown))
    if len(behaviors) < 2:
        return []
    lines: dict[str, list[tuple[str, Points]]] = {}
    for curve in shown:
        lines.setdefault(f"{curve.vector} over behaviors", []).append((curve.behavior, _points(curve)))
    return [LinesPanel(title, tuple(of_vector), behaviors, wide=True) for title, of_vector in lines.items()]


def layer_panels(curves: Sequence[Curve]) -> list[LinesPanel]:
    """A panel a behavior and context of a sweep: p_match by layer, a line a multiplier."""
    shown = sorted((c for c in curves if c.layer is not None and _swept(c, curves)), key=lambda c: c.layer or 0)
    multipliers = sorted({point.multiplier for curve in shown for point in curve.points if point.multiplier})
    names = tuple(f"{multiplier:+g}" for multiplier in multipliers)
    panels = []
    for behavior, vector, context in dict.fromkeys((c.behavior, _family(c), c.context) for c in curves if c in shown):
        points = [
            (point.multiplier, (float(curve.layer or 0), point.p_match, point.interval))
            for curve in shown
            if (curve.behavior, _family(curve), curve.context) == (behavior, vector, context)
            for point in curve.points
        ]
        lines = [
            (name, tuple(p for m, p in points if m == times)) for name, times in zip(names, multipliers, strict=True)
        ]
        title = f"{behavior}: {vector}" + ("" if context == ALONE else f" on {context}")
        panels.append(LinesPanel(title, tuple(lines), names, "layer (block, counted from 0)"))
    return panels


def label_panels(summary: Summary, curves: Sequence[Curve]) -> list[LinesPanel]:
    """A panel a behavior and vector without a context: the shift over multipliers, a line a label of the items."""
    panels, names = [], dict[str, None]()
    for behavior, vector in dict.fromkeys((c.behavior, c.vector) for c in curves if c.context == ALONE):
        points: dict[str, list[tuple[float, float, Sequence[float] | None]]] = {}
        for row in (r for r in summary.of(behavior) if r.name == vector and r.labels and not is_broken(r)):
            for label, numbers in (row.labels or {}).items():
                points.setdefault(label, []).append((multiplier(row), numbers["shift"], numbers.get("ci")))
        if points:
            names |= dict.fromkeys(points)
            lines = tuple((label, tuple(sorted([*each, (0.0, 0.0, None)]))) for label, each in points.items())
            panels.append((f"{behavior}: {vector}", lines))
    return [LinesPanel(title, lines, tuple(names), y_text="shift of p_match") for title, lines in panels]


def category_panels(summary: Summary, curves: Sequence[Curve]) -> list[CategoryPanel]:
    """A panel a behavior and vector without a context: knowledge by category at each of its multipliers."""
    panels = []
    for behavior in summary.behaviors:
        rows = [row for row in summary.of(behavior) if row.knowledge_by_category]
        alone = [c for c in curves if c.behavior == behavior and c.context == ALONE and not _swept(c, curves)]
        for name in sorted({curve.vector for curve in alone}):
            shown = [row for row in rows if row.is_baseline or row.name == name]
            categories = tuple(sorted({category for row in shown for category in row.knowledge_by_category or {}}))
            if len(shown) > 1 and len(categories) > 1:
                title = f"{behavior}: {shown[0].knowledge_set} by category, {name}"
                panels.append(CategoryPanel(title, tuple(shown), categories))
    return panels
