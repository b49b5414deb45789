"""The report's section of shifts: bars beside each other, and the main table of each behavior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from comparisons.report.blocks import Block, Heading, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.panels import DIRECTIONS, Panel, label, signed, tip
from comparisons.report.table import broken_text, describe, main_table
from comparisons.results.findings import estimate, is_broken, moved, ranked
from comparisons.results.record import Record
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.drawing import GREY

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BAND = "#c4c4c4"
"""Of what random directions do, behind the bars."""


def shift_section(record: Record, gallery: Gallery) -> list[Block]:
    """What each cell moved."""
    pictures = gallery.draw("shift", shift_panels(record.summary), "Shift by method")
    blocks = section("Shift", *_band(record), *pictures)
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        blocks += [Heading(escaped(name), 3), Paragraph(_measured(rows)), main_table(rows)]
    return blocks


def _band(record: Record) -> list[Block]:
    """What the grey band behind the bars is."""
    counts = [row.n_random for row in record.summary.rows if row.n_random]
    if not counts:
        return []
    matched = any(row.matched_shifts is not None for row in record.summary.rows)
    kind = " and of the training pairs' spread" if matched else ""
    text = (
        f"The grey band behind a bar is where 95% of {min(counts)} random directions of the same norm{kind}, put in "
        "the place of the cell's vectors, moved the behavior."
    )
    return [Paragraph(text)]


def _measured(rows: Sequence[SummaryRow]) -> str:
    """How many questions stand behind the numbers, and what the baseline knows."""
    counts = sorted({row.n_items for row in rows if row.n_items is not None})
    items = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "No"
    text = f"{items} test questions a cell"
    baseline = rows[0]
    if baseline.is_baseline and baseline.knowledge is not None:
        text += f"; knowledge of the baseline on {escaped(baseline.knowledge_set or '')}: {baseline.knowledge:.3f}"
    return text + "."


@dataclass(frozen=True)
class ShiftPanel(Panel):
    """Bars of shifts with intervals: a line a method and strength, a bar a direction.

    Attributes:
        rows: of one behavior.
        lines: name and strength of each line, the same in all panels.
        labels: what stands beside them.
        banded: whether any panel of the figure has bands of random directions.
    """

    rows: tuple[SummaryRow, ...]
    lines: tuple[tuple[str, float], ...]
    labels: tuple[str, ...]
    banded: bool = False

    x_label: ClassVar[str] = "shift of p_match (probability), 95% interval"

    @property
    def height(self) -> float:
        return 0.75 + 0.34 * len(self.lines)

    def draw(self, axes: Axes) -> None:
        rows = {(row.name, row.strength, row.direction): row for row in self.rows}
        for number, (name, strength) in enumerate(self.lines):
            for direction, offset in (("pos", -0.2), ("neg", 0.2)):
                row = rows.get((name, strength, direction))
                if row is not None:
                    self._bar(axes, row, number + offset)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_yticks(range(len(self.labels)), self.labels)
        axes.set_ylim(len(self.lines) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)

    def _bar(self, axes: Axes, row: SummaryRow, height: float) -> None:
        color, hatch, _ = DIRECTIONS[row.direction or "pos"]
        if row.shift is None or is_broken(row):
            text = "failed" if row.failed else broken_text(row) if is_broken(row) else "no number"
            axes.annotate(
                f"{row.direction}: {text}", (0, height), (4, 0), textcoords="offset points", va="center",
                fontsize=7, color=GREY,
            )  # fmt: skip
            return
        thickness = 0.36
        band = row.matched_shifts or row.random_shifts
        if band is not None:
            low, middle, high = band
            axes.barh(height, high - low, left=low, height=0.38, color=BAND, zorder=0.9)
            axes.plot((middle, middle), (height - 0.19, height + 0.19), color=GREY, linewidth=0.8, zorder=0.95)
            thickness = 0.2  # so that the band is seen behind it
        bars = axes.barh(height, row.shift, height=thickness, color=color, edgecolor="white", hatch=hatch)
        tip(bars[0], f"{describe(row)}: {estimate(row)}")
        if row.shift_ci is not None:
            axes.plot(row.shift_ci, (height, height), color="black", linewidth=1.2, marker="|", markersize=5)

    def handles(self) -> list[Artist]:
        from matplotlib.patches import Patch

        used = [look for name, look in DIRECTIONS.items() if any(row.direction == name for row in self.rows)]
        handles: list[Artist] = [
            Patch(facecolor=color, edgecolor="white", hatch=hatch, label=text) for color, hatch, text in used
        ]
        if self.banded:
            handles.append(Patch(facecolor=BAND, label="95% of random vectors in its place"))
        return handles


def shift_panels(summary: Summary) -> list[ShiftPanel]:
    """A panel a behavior, all with the same lines."""
    cells = [row for row in summary.rows if not row.is_baseline]
    lines = tuple(dict.fromkeys((row.name, row.strength) for row in cells))
    if not lines:
        return []
    labels = tuple(label(next(r for r in cells if (r.name, r.strength) == line), cells) for line in lines)
    banded = any(row.random_shifts is not None for row in cells)
    rows_of = {name: summary.of(name) for name in summary.subjects}
    return [ShiftPanel(_title(name, rows), rows, lines, labels, banded) for name, rows in rows_of.items()]


def _title(behavior: str, rows: Sequence[SummaryRow]) -> str:
    """The behavior and the furthest method each way."""
    firsts = [next(iter(ranked(rows, direction)), None) for direction in DIRECTIONS]
    furthest = [f"{label(row, rows)} {signed(row.shift)}" for row in firsts if row is not None and moved(row)]
    if all(row.shift is None or is_broken(row) for row in rows):
        return f"{behavior}\nno result"
    return f"{behavior}\n" + (f"furthest: {' and '.join(furthest)}" if furthest else "nothing moved it measurably")
