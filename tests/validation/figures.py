"""Figures for docs/validity.md: coverage, false positives and power."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.util.files import write_bytes
from tests.validation.results import COVERED, WRONG, Results, monte_carlo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tests.validation.simulations import Coverage, FalsePositives, Power

COLORS = ("#0072b2", "#d55e00", "#009e73")
MARKERS = ("o", "s", "^")
GREY = "#777777"
SIZE = (8.0, 3.2)


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Draws three PNGs, validity-*.png, and returns their paths."""
    drawings: dict[str, Callable[[Figure], None]] = {
        "coverage": lambda figure: _coverage(figure, results),
        "errors": lambda figure: _errors(figure, results),
        "power": lambda figure: _power(figure, results),
    }
    return [write_png(folder / f"validity-{name}.png", draw) for name, draw in drawings.items()]


def write_png(path: Path, draw: Callable[[Figure], None], size: tuple[float, float] = SIZE) -> Path:
    """Draws a figure of a size in inches and writes it whole or not at all; returns the path."""
    write_bytes(path, _png(draw, size))
    return path


def _png(draw: Callable[[Figure], None], size: tuple[float, float]) -> bytes:
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", {"font.size": 9, "legend.frameon": False}]):
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        data = io.BytesIO()
        canvas.print_figure(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _coverage(figure: Figure, results: Results) -> None:
    held = [row for row in results.coverage if row.bound is not None]
    shapes = list(dict.fromkeys(row.shape for row in held))
    panels = figure.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    for axes, shape in zip(panels, shapes, strict=True):
        rows = [row for row in held if row.shape == shape]
        _coverage_panel(axes, rows, results.sizes.runs)
        axes.set_title(shape, loc="left", fontsize=9)
    panels[0].set_ylabel("share of 95% intervals\nthat hold the true mean")
    panels[0].legend(loc="lower left")


def _coverage_panel(axes: Axes, rows: Sequence[Coverage], runs: int) -> None:
    line(axes, 0.95, "aimed at")
    line(axes, COVERED, "asked for", "--")
    for place, (name, label) in enumerate((("covered", "here"), ("plain", "plain BCa"))):
        shares = [getattr(row, name) for row in rows]
        across = [index + 0.1 * (place - 0.5) for index in range(len(rows))]
        error = [1.96 * monte_carlo(share, runs) for share in shares]
        axes.errorbar(across, shares, error, fmt=MARKERS[place], color=COLORS[place], capsize=2, label=label)
    clustered = any(row.units != row.items for row in rows)
    ticks = [f"{row.items} in {row.units}" if clustered else f"{row.items}" for row in rows]
    axes.set_xticks(range(len(rows)), ticks)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    finish(axes, "items in templates" if clustered else "items")


def _errors(figure: Figure, results: Results) -> None:
    rows = results.false_positives
    axes = figure.subplots()
    line(axes, WRONG, "nominal")
    bound = next(row.bound for row in rows if row.bound is not None)
    line(axes, bound, "with Monte Carlo error", "--")
    for place, (name, label) in enumerate((("holm", "Holm"), ("max_t", "max-T"))):
        rates = [getattr(row, name) for row in rows]
        across = [index + 0.16 * (place - 0.5) for index in range(len(rows))]
        error = [1.96 * monte_carlo(rate, results.sizes.runs) for rate in rates]
        axes.errorbar(across, rates, error, fmt=MARKERS[place], color=COLORS[place], capsize=2, label=label)
    axes.set_xticks(range(len(rows)), [_tick(row) for row in rows], fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("share of null tables with\nany corrected p ≤ .05")
    axes.legend(loc="upper left")
    finish(axes, "")


def _tick(row: FalsePositives) -> str:
    kind = "" if row.bound is not None else "\n(no bound)"
    return f"{row.null.replace(', ', ',' + chr(10))}\n{row.cells} cells{kind}"


def _power(figure: Figure, results: Results) -> None:
    shapes = list(dict.fromkeys(row.shape for row in results.power))
    panels = figure.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    for axes, shape in zip(panels, shapes, strict=True):
        _power_panel(axes, [row for row in results.power if row.shape == shape])
        axes.set_title(shape, loc="left", fontsize=9)
    panels[0].set_ylabel("share of runs with p ≤ .05")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _power_panel(axes: Axes, rows: Sequence[Power]) -> None:
    line(axes, 0.8, None, "--")
    line(axes, 0.05, None, ":")
    for place, row in enumerate(rows):
        color = COLORS[place % len(COLORS)]
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(row.shifts, row.found, marker=marker, ms=3.5, color=color, label=f"{row.items} items")
        axes.plot([row.detectable] * 2, [0, 0.8], color=color, lw=1, ls=(0, (1, 1.5)))
    axes.plot([], [], color=GREY, lw=1, ls=(0, (1, 1.5)), label="minimum detectable shift")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    finish(axes, "true mean shift")


def line(axes: Axes, level: float, label: str | None, style: str = "-") -> None:
    """A grey level across a panel, behind what is drawn."""
    axes.axhline(level, color=GREY, lw=0.9, ls=style, label=label, zorder=0)


def finish(axes: Axes, across: str) -> None:
    """What all panels share: a label, a faint grid, no box."""
    axes.set_xlabel(across)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
