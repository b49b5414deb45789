"""The report's figures: small multiples, one panel a behavior, drawn without global state and without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.report.panels import Panel, layer_panels, shift_panels
from comparisons.report.scatter import cost_panels
from comparisons.report.sideeffects import side_panels
from comparisons.report.sweep import grids
from comparisons.report.sweeppanels import curve_panels, map_panels
from comparisons.results.record import Record
from comparisons.util.files import remove_leftovers, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 8.0
"""Inches; at 150 dots an inch a page of 900 pixels shows the text at three quarters of its size."""

DPI = 150
STEMS = ("shift", "cost", "side-effects", "layers", "sweep", "sweep-layers", "sweep-cost")
"""How the names of all figures begin."""

PAGE = 15.0
"""Inches: a taller figure is continued in the next picture."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True)
class Picture:
    """A PNG in figures/: its file's name, what it shows in words, and the panels that it was drawn from."""

    name: str
    text: str
    panels: tuple[Panel, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Figures:
    """The pictures of a report, by section; a section without data has none."""

    shift: tuple[Picture, ...] = ()
    cost: tuple[Picture, ...] = ()
    side: tuple[Picture, ...] = ()
    layers: tuple[Picture, ...] = ()
    maps: tuple[Picture, ...] = ()
    curves: tuple[Picture, ...] = ()
    cost_maps: tuple[Picture, ...] = ()

    @property
    def names(self) -> set[str]:
        """The files of all pictures."""
        return {picture.name for section in fields(self) for picture in getattr(self, section.name)}


def write_figures(record: Record, folder: Path) -> Figures:
    """Draws every figure that the record has data for, and removes those that it has no longer.

    Args:
        record: the run.
        folder: where the PNGs go; made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    names = record.summary.behaviors
    subject = names[0] if len(names) == 1 else f"{len(names)} behaviors"
    layers = write_panels(folder, "layers", layer_panels(record.choices), f"Shift on dev by layer: {subject}")
    if record.is_sweep:
        found = grids(record.summary)
        maps, costs = map_panels(found, "shift"), map_panels(found, "cost")
        made = Figures(
            layers=layers,
            maps=write_panels(folder, "sweep", maps, f"Shift by layer and multiplier: {subject}"),
            curves=write_panels(folder, "sweep-layers", curve_panels(found), f"Shift by layer: {subject}"),
            cost_maps=write_panels(folder, "sweep-cost", costs, f"Knowledge cost by layer and multiplier: {subject}"),
        )
    else:
        made = Figures(
            shift=write_panels(folder, "shift", shift_panels(record.summary), f"Shift by method: {subject}"),
            cost=write_panels(folder, "cost", cost_panels(record.summary), f"Shift against knowledge cost: {subject}"),
            side=write_panels(folder, "side-effects", side_panels(record.summary), f"Side effects: {subject}"),
            layers=layers,
        )
    for stem in STEMS:
        for path in [*folder.glob(f"{stem}.png"), *folder.glob(f"{stem}-[0-9]*.png")]:
            if path.name not in made.names:
                path.unlink(missing_ok=True)
    return made


def write_panels(folder: Path, stem: str, panels: Sequence[Panel], text: str) -> tuple[Picture, ...]:
    """Draws panels on as many pictures as they need: stem.png, stem-2.png, …"""
    found = []
    for number, page in enumerate(_pages(panels), 1):
        name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        write_bytes(folder / name, _png(page))
        found.append(Picture(name, text if number == 1 else f"{text}, continued", tuple(page)))
    return tuple(found)


def _pages(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in their columns, as many rows to a page as fit."""
    if not panels:
        return []
    rows = max(1, int(PAGE // max(panel.height for panel in panels)))
    count = panels[0].columns * rows
    return [list(panels[i : i + count]) for i in range(0, len(panels), count)]


def _png(panels: Sequence[Panel]) -> bytes:
    """Draws panels that share their axes' limits; the same panels give the same bytes."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=_size(panels), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        _draw(figure, panels)
        data = io.BytesIO()
        # Without the name and version of the program that drew it, so that equal figures are equal files.
        canvas.print_figure(data, format="png", dpi=DPI, metadata={"Software": None})
    return data.getvalue()


def _size(panels: Sequence[Panel]) -> tuple[float, float]:
    columns = panels[0].columns
    rows = (len(panels) + columns - 1) // columns
    return WIDTH, rows * max(panel.height for panel in panels) + 0.4 + 0.2 * panels[0].legend_rows


def _draw(figure: Figure, panels: Sequence[Panel]) -> None:
    columns = min(panels[0].columns, len(panels))
    rows = (len(panels) + columns - 1) // columns
    grid = figure.subplots(rows, columns, squeeze=False, sharex=panels[0].shared_x, sharey=panels[0].shared_y)
    for number, axes in enumerate(grid.flat):
        if number >= len(panels):
            axes.set_visible(False)
            continue
        panel = panels[number]
        panel.draw(axes)
        axes.set_title(panel.title)
        # The lowest panel of a column says what the axis is, also where an empty place stands below it.
        lowest = number + columns >= len(panels)
        axes.tick_params(labelbottom=lowest or not panel.shared_x)
        axes.set_xlabel(panel.x_label if lowest else "")
        axes.set_ylabel(panel.y_label if number % columns == 0 else "")
    panels[0].finish(figure, [axes for axes in grid.flat if axes.get_visible()])
    if handles := panels[0].handles():
        per_row = -(-len(handles) // panels[0].legend_rows)
        figure.legend(handles=handles, loc="outside lower center", ncols=per_row)
