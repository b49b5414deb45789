"""The report's figures: small multiples, one panel a behavior, on as many pictures as they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.report.panels import Panel
from comparisons.util.drawing import WIDTH, png
from comparisons.util.files import remove_leftovers, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEMS = ("shift", "cost", "side-effects", "layers", "sweep", "sweep-layers", "sweep-cost")
"""How the names of all figures begin."""

PAGE = 15.0
"""Inches: a taller figure is continued in the next picture."""


@dataclass(frozen=True)
class Picture:
    """A PNG in figures/: its file's name, what it shows in words, and the panels that it was drawn from."""

    name: str
    text: str
    panels: tuple[Panel, ...] = field(default=(), repr=False, compare=False)


class Gallery:
    """A report's folder of pictures, which its sections fill.

    Args:
        folder: where the PNGs go; made if absent.
        subject: what the report is about, in words.
    """

    def __init__(self, folder: Path, subject: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        self._folder, self._subject = folder, subject
        self._drawn: set[str] = set()

    def draw(self, stem: str, panels: Sequence[Panel], text: str) -> tuple[Picture, ...]:
        """Draws a figure; none without a panel.

        Args:
            stem: how the names of its files begin.
            panels: of one kind.
            text: what it shows, in words; the subject is added.
        """
        pictures = write_panels(self._folder, stem, panels, f"{text}: {self._subject}")
        self._drawn |= {picture.name for picture in pictures}
        return pictures

    def remove_stale(self) -> None:
        """Removes the figures that an earlier report had and this one hasn't."""
        for stem in STEMS:
            for path in [*self._folder.glob(f"{stem}.png"), *self._folder.glob(f"{stem}-[0-9]*.png")]:
                if path.name not in self._drawn:
                    path.unlink(missing_ok=True)


def write_panels(folder: Path, stem: str, panels: Sequence[Panel], text: str) -> tuple[Picture, ...]:
    """Draws panels on as many pictures as they need: stem.png, stem-2.png, …"""
    pictures = []
    for number, page in enumerate(_pages(panels), 1):
        name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        write_bytes(folder / name, _picture(page))
        pictures.append(Picture(name, text if number == 1 else f"{text}, continued", tuple(page)))
    return tuple(pictures)


def _pages(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in their columns, as many rows to a page as fit."""
    if not panels:
        return []
    rows = max(1, int(PAGE // max(panel.height for panel in panels)))
    count = panels[0].columns * rows
    return [list(panels[i : i + count]) for i in range(0, len(panels), count)]


def _picture(panels: Sequence[Panel]) -> bytes:
    """A PNG of panels that share their axes' limits."""
    rows = -(-len(panels) // panels[0].columns)
    height = rows * max(panel.height for panel in panels) + 0.4 + 0.2 * panels[0].legend_rows
    return png(lambda figure: _arrange(figure, panels), (WIDTH, height))


def _arrange(figure: Figure, panels: Sequence[Panel]) -> None:
    columns = min(panels[0].columns, len(panels))
    rows = -(-len(panels) // columns)
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
