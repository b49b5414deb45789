"""The report's sections of shifts and of what they cost: bars, the main table of each behavior, shift against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.bars import BAND
from comparisons.report.blocks import Block, Heading, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.panels import DIRECTIONS, Panel, key, label, shortened, signed, tip
from comparisons.report.table import describe, main_table
from comparisons.results.costs import Frontier
from comparisons.results.findings import estimate, is_broken
from comparisons.results.record import Record
from comparisons.results.schema import Interval
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import COLORS, GREY, MARKERS
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number, share

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


JOINING: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.6}
"""Of the line between a method's strengths."""

PLACES_TEXT = (
    "A cell is dominated where another of its direction, or the unchanged model, moves no less far at no larger a cost "
    "and is better in one of the two; what nothing dominates lies on the frontier. The shares are of 2,000 joint draws "
    "of the questions of both."
)

AREA_TEXT = (
    "Area is one number a method: the mean, over all costs from 0 to that of the cell that moves furthest, of the "
    "largest shift that the method has within the cost, of the strengths that were tried. A method without a dose has "
    "its one shift from its cost on, and nothing below."
)

AREA_COLUMNS = (
    Column("behavior", align="left"),
    Column("direction", align="left"),
    Column("method", align="left"),
    Column("area"),
    Column("95% CI", interval=True),
    Column("up to"),
)


def places_blocks(rows: Sequence[SummaryRow], of: Callable[[SummaryRow], Frontier | None]) -> list[Block]:
    """Who lies on a frontier; nothing where nobody was placed.

    Args:
        rows: of the summary.
        of: a row's place.
    """
    placed = [(row, place) for row in rows if (place := of(row)) is not None]
    columns: tuple[tuple[Column, Callable[[tuple[SummaryRow, Frontier]], str]], ...] = (
        (Column("behavior", align="left"), lambda pair: pair[0].subject),
        (Column("cell", align="left"), lambda pair: describe(pair[0])),
        (Column("on the frontier"), lambda pair: share(pair[1]["probability"])),
        (Column("dominated"), lambda pair: share(pair[1]["dominated"])),
        (Column("most often by", align="left"), lambda pair: (pair[1]["by"] or "").partition("/")[2] or NOTHING),
    )
    table = Table.of(columns, placed, lambda pair: pair[0].subject)
    return [Paragraph(PLACES_TEXT), table, *area_blocks(placed)] if placed else []


def area_blocks(placed: Sequence[tuple[SummaryRow, Frontier]]) -> list[Block]:
    """A line a method and direction, the largest area first; nothing where none was found.

    Args:
        placed: cells with their places.
    """
    lines = {(r.subject, r.direction or "", r.name): place for r, place in placed if place.get("area") is not None}
    ordered = sorted(lines.items(), key=lambda line: (*line[0][:2], -(line[1].get("area") or 0)))
    rows = [
        Row((*line, number(place.get("area")), _interval(place), number(place.get("area_to"))), line[0])
        for line, place in ordered
    ]
    return [Paragraph(AREA_TEXT), Table(AREA_COLUMNS, tuple(rows))] if rows else []


def _interval(place: Frontier) -> str:
    bounds = place.get("area_ci")
    return "no interval" if bounds is None else interval(bounds)


def shift_section(record: Record) -> list[Block]:
    """What each cell moved: a table a behavior."""
    blocks = section("Shift", *_band(record))
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        blocks += [Heading(escaped(name), 3), Paragraph(_measured(rows)), main_table(rows)]
    return blocks


def _band(record: Record) -> list[Block]:
    """What the grey band behind the figure's bars is."""
    counts = [row.n_random for row in record.summary.rows if row.n_random]
    if not counts:
        return []
    matched = any(row.matched_shifts is not None for row in record.summary.rows)
    kind = " and of the training pairs' spread" if matched else ""
    text = (
        f"The grey band behind a bar above is where 95% of {min(counts)} random directions of the same norm{kind}, put "
        "in the place of the cell's vectors, moved the behavior."
    )
    return [Paragraph(text)]


def _measured(rows: Sequence[SummaryRow]) -> str:
    """How many questions stand behind the numbers, and what the baseline knows."""
    counts = sorted({row.n_items for row in rows if row.n_items is not None})
    items = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "No"
    text = f"{items} test questions a cell"
    clusters = [row.n_clusters for row in rows if row.n_clusters is not None]
    text += f", {min(clusters)} clusters" if clusters else ""
    if any(row.measure == "answers" for row in rows):
        text += ", measured by the answers' texts"
    baseline = rows[0]
    if baseline.is_baseline and baseline.knowledge is not None:
        text += f"; knowledge of the baseline on {escaped(baseline.knowledge_set or '')}: {baseline.knowledge:.3f}"
    return text + "."


def cost_section(record: Record, gallery: Gallery) -> list[Block]:
    """What each cell's shift costs; nothing where no knowledge was measured."""
    pictures = gallery.draw("cost", cost_panels(record.summary), "Shift against knowledge cost")
    if not pictures:
        return []
    sets = knowledge_sets(record)
    text = f"Cost is measured on {sets}. Above 0 the behavior rises, below it falls; further left is cheaper."
    places = places_blocks(record.summary.rows, lambda row: row.frontier)
    return section("Shift and cost", Paragraph(text), *pictures, *places)


def knowledge_sets(record: Record) -> str:
    """What knowledge was measured on."""
    return escaped(", ".join(dict.fromkeys(row.knowledge_set for row in record.summary.rows if row.knowledge_set)))


@dataclass(frozen=True)
class Place:
    """Where a cell stands in a chart of two numbers: each with its interval, and what its mark says."""

    row: SummaryRow
    x: float
    x_ci: Interval | None
    y: float
    y_ci: Interval | None
    text: str


@dataclass(frozen=True)
class CostPanel(Panel):
    """Shift against knowledge cost: a point a cell, a colour and marker a method, hollow where less is wanted."""

    rows: tuple[SummaryRow, ...]
    names: tuple[str, ...]

    # One behavior's broken cell would leave the others' points on one spot.
    shared_x: ClassVar[bool] = False
    x_label: ClassVar[str] = "knowledge cost, 95% interval"
    y_label: ClassVar[str] = "shift of p_match"
    word: ClassVar[str] = "cost"

    @property
    def height(self) -> float:
        return 2.7

    @property
    def origin(self) -> tuple[float, float] | None:
        """Where the unchanged model stands."""
        return 0, 0

    def place(self, row: SummaryRow) -> Place | None:
        """Where a cell stands; None where it has no number, or none that means something."""
        if row.cost is None or row.shift is None or is_broken(row):
            return None
        text = f"{describe(row)}: shift {estimate(row)}, cost {signed(row.cost)}"
        return Place(row, row.cost, row.cost_ci, row.shift, row.shift_ci, text)

    def draw(self, axes: Axes) -> None:
        if self.origin is not None:
            axes.axvline(self.origin[0], color=GREY, linewidth=0.8)
            axes.axhline(self.origin[1], color=GREY, linewidth=0.8)
        axes.grid(color="#eeeeee", linewidth=0.6)
        for index, name in enumerate(self.names):
            for direction in DIRECTIONS:
                rows = [row for row in self.rows if row.name == name and row.direction == direction]
                places = [self.place(row) for row in sorted(rows, key=lambda row: row.strength)]
                self._points(axes, [place for place in places if place is not None], index, direction)
        axes.locator_params(axis="x", nbins=6)

    def _points(self, axes: Axes, places: Sequence[Place], number: int, direction: str) -> None:
        """One method in one direction; a line joins its strengths, and the marker grows with them."""
        color, marker = self._look(number)
        series = self._series(number)
        line: dict[str, Any] = {"color": color, "linewidth": 0.9}
        joined = axes.plot([place.x for place in places], [place.y for place in places], **line | JOINING)
        tip(joined[0], series=series)
        for rank, place in enumerate(places):
            about = {"series": series, "strength": f"{place.row.strength:g}"}
            bars: list[tuple[Interval, Interval]] = []
            bars += [(place.x_ci, (place.y, place.y))] if place.x_ci is not None else []
            bars += [((place.x, place.x), place.y_ci)] if place.y_ci is not None else []
            for x, y in bars:
                tip(axes.plot(x, y, **line)[0], **about)
            size = 6 + 3 * rank / max(1, len(places) - 1)
            fill = color if direction == "pos" else "white"
            look: dict[str, Any] = {"marker": marker, "markersize": size, "color": color, "markerfacecolor": fill}
            tip(axes.plot(place.x, place.y, **look, zorder=3)[0], place.text, cell=place.row.cell, **about)

    @property
    def _controls(self) -> set[str]:
        return {row.name for row in self.rows if row.control}

    def _look(self, number: int) -> tuple[str, str]:
        """Colour and marker."""
        control = self.names[number] in self._controls
        return BAND if control else COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]

    def _series(self, number: int) -> str:
        """A method's name in the legend."""
        name = self.names[number]
        return shortened(name) + (" (control)" if name in self._controls else "")

    def handles(self) -> list[Artist]:
        handles = []
        for index in range(len(self.names)):
            color, marker = self._look(index)
            handles.append(key(self._series(index), color=color, marker=marker, markersize=6, linewidth=0.9))
        point: dict[str, Any] = {"marker": "o", "color": GREY, "linestyle": "none"}
        handles.append(key("filled: more (pos)", **point))
        handles.append(key("hollow: less (neg)", **point, markerfacecolor="white"))
        if len({(row.name, row.strength) for row in self.rows if not row.is_baseline}) > len(self.names):
            handles.append(key("larger: stronger", **point, markersize=9))
        return handles


def cost_panels(summary: Summary, kind: type[CostPanel] = CostPanel) -> list[CostPanel]:
    """A panel a behavior whose cells have a place in it."""
    place = kind("", (), ()).place
    points = [(row, at) for row in summary.rows if not row.is_baseline and (at := place(row)) is not None]
    names = tuple(dict.fromkeys(row.name for row, _ in points))
    panels = []
    for name in dict.fromkeys(row.subject for row, _ in points):
        # The largest is what the eye looks for.
        worst, at = max((pair for pair in points if pair[0].subject == name), key=lambda pair: pair[1].x)
        largest = f"largest {kind.word}: {label(worst, summary.of(name))} {worst.direction}, {signed(at.x)}"
        panels.append(kind(f"{name}\n{largest}", summary.of(name), names))
    return panels
