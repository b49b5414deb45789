"""The panels of cosines, and of layers and pairs on components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from comparisons.report.panels import MapPanel, Panel, key, paint, shortened, write_value
from comparisons.util.drawing import BLUE, GREY, MARKERS, VERMILLION
from comparisons.vectors.components import SIDES, Components, LayerView
from comparisons.vectors.similarity import Cosines, LayerComponents

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 16
"""Columns up to which cosines are written into the cells."""

SIDE_COLORS = dict(zip(SIDES, (BLUE, VERMILLION), strict=True))


@dataclass(frozen=True)
class CosinePanel(MapPanel):
    """A matrix of cosines as a map from −1 to 1."""

    cosines: Cosines

    shared_x: ClassVar[bool] = False

    @property
    def scale(self) -> str:
        return "cosine"

    @property
    def height(self) -> float:
        return 1.3 + min(11.0, (0.3 if self._numbered else 0.16) * len(self.cosines.rows))

    @property
    def columns(self) -> int:
        return 1

    @property
    def _numbered(self) -> bool:
        return len(self.cosines.columns) <= NUMBERED

    def draw(self, axes: Axes) -> None:
        cosines = self.cosines
        paint(axes, cosines.values, 1.0)
        across, down = ([shortened(name) for name in names] for names in (cosines.columns, cosines.rows))
        tilted: dict[str, Any] = (
            {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if max(map(len, across)) > 3 else {}
        )
        wide, high = (max(1, len(names) // 24) for names in (across, down))
        axes.set_xticks(range(0, len(across), wide), across[::wide], **tilted)
        axes.set_yticks(range(0, len(down), high), down[::high])
        for (y, x), value in np.ndenumerate(cosines.values) if self._numbered else ():
            if not np.isnan(value):
                write_value(axes, x, y, value, 1.0, dark="black")

    def finish(self, figure: Figure, axes: Sequence[Axes]) -> None:
        super().finish(figure, axes)
        for place in axes:
            place.set_xlabel(self.cosines.across)
            place.set_ylabel(self.cosines.down)


@dataclass(frozen=True)
class PathPanel(Panel):
    """Layers on two components, joined in their order."""

    found: LayerComponents

    x_label: ClassVar[str] = "component 1"
    y_label: ClassVar[str] = "component 2"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False

    @property
    def height(self) -> float:
        return 3.4

    def draw(self, axes: Axes) -> None:
        x, y = self.found.places.T
        axes.plot(x, y, color="#bbbbbb", linewidth=1, zorder=1)
        axes.scatter(x, y, c=range(len(x)), cmap="viridis", s=30, zorder=2)
        step = max(1, len(x) // 16)
        for place in range(0, len(x), step):
            # Neighbours lie close: their numbers stand on opposite sides.
            side = (5, 5) if place // step % 2 else (-11, -9)
            name = str(self.found.layers[place])
            axes.annotate(name, (x[place], y[place]), side, textcoords="offset points", fontsize=8)
        axes.margins(0.12)


@dataclass(frozen=True)
class PointsPanel(Panel):
    """A layer's points on two components: colour by side, shape by letter."""

    found: Components
    view: LayerView

    x_label: ClassVar[str] = "component 1"
    y_label: ClassVar[str] = "component 2"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False

    @property
    def height(self) -> float:
        return 2.5

    @property
    def columns(self) -> int:
        return 3

    def draw(self, axes: Axes) -> None:
        sides, letters = np.array(self.found.sides), np.array(self.found.letters)
        size = 14 if len(sides) <= 400 else 6
        for side, color in SIDE_COLORS.items():
            for marker, letter in zip(MARKERS, sorted(set(letters)), strict=False):
                chosen = (sides == side) & (letters == letter)
                x, y = self.view.places[chosen].T
                axes.scatter(x, y, s=size, c=color, marker=marker, alpha=0.55, linewidths=0)
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=4)

    def handles(self) -> list[Artist]:
        look: dict[str, Any] = {"linestyle": "", "markersize": 5}
        used = [side for side in SIDES if side in self.found.sides]
        handles = [key(f"{side} answer", marker="s", color=SIDE_COLORS[side], **look) for side in used]
        for marker, letter in zip(MARKERS, sorted(set(self.found.letters)), strict=False):
            handles.append(key(f"({letter})", marker=marker, color=GREY, **look))
        return handles


def points_panels(found: Components) -> list[PointsPanel]:
    """A panel a layer."""
    return [
        PointsPanel(f"layer {v.layer}: {v.explained[0]:.0%} + {v.explained[1]:.0%} of variance", found, v)
        for v in found.views
    ]
