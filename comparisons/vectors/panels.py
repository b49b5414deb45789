"""The panels of cosines, of layers and pairs on components, and of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from comparisons.report.panels import MapPanel, Panel, key, paint, shortened, write_value
from comparisons.util.drawing import BLUE, COLORS, GREY, MARKERS, VERMILLION
from comparisons.vectors.contrast import SIDES, Components, LayerView
from comparisons.vectors.diagnose import Diagnosis, LayerDiagnosis, label_names
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
    scale: ClassVar[str] = "cosine"

    @property
    def height(self) -> float:
        return 1.3 + min(11.0, (0.3 if self._numbered else 0.16) * len(self.cosines.rows))

    columns: ClassVar[int] = 1

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

    components: LayerComponents

    x_label: ClassVar[str] = "component 1"
    y_label: ClassVar[str] = "component 2"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False
    height: ClassVar[float] = 3.4

    def draw(self, axes: Axes) -> None:
        x, y = self.components.places.T
        axes.plot(x, y, color="#bbbbbb", linewidth=1, zorder=1)
        axes.scatter(x, y, c=range(len(x)), cmap="viridis", s=30, zorder=2)
        step = max(1, len(x) // 16)
        for place in range(0, len(x), step):
            # Neighbours lie close: their numbers stand on opposite sides.
            side = (5, 5) if place // step % 2 else (-11, -9)
            name = str(self.components.layers[place])
            axes.annotate(name, (x[place], y[place]), side, textcoords="offset points", fontsize=8)
        axes.margins(0.12)


@dataclass(frozen=True)
class PointsPanel(Panel):
    """A layer's points on two components: colour by side, shape by letter."""

    components: Components
    view: LayerView

    x_label: ClassVar[str] = "component 1"
    y_label: ClassVar[str] = "component 2"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False
    height: ClassVar[float] = 2.5
    columns: ClassVar[int] = 3

    def draw(self, axes: Axes) -> None:
        sides, letters = np.array(self.components.sides), np.array(self.components.letters)
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
        used = [side for side in SIDES if side in self.components.sides]
        handles = [key(f"{side} answer", marker="s", color=SIDE_COLORS[side], **look) for side in used]
        for marker, letter in zip(MARKERS, sorted({*self.components.letters} - {""}), strict=False):
            handles.append(key(f"({letter})", marker=marker, color=GREY, **look))
        return handles


def points_panels(components: Components) -> list[PointsPanel]:
    """A panel a layer."""
    return [
        PointsPanel(f"layer {v.layer}: {v.explained[0]:.0%} + {v.explained[1]:.0%} of variance", components, v)
        for v in components.views
    ]


LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class SharePanel(Panel):
    """By layer, how often the positive half projects higher: of all pairs with its interval, and by letter."""

    diagnosis: Diagnosis

    x_label: ClassVar[str] = "layer (block, counted from 0)"
    y_label: ClassVar[str] = "share of pairs"
    shared_y: ClassVar[bool] = False
    height: ClassVar[float] = 2.6
    columns: ClassVar[int] = 1

    @property
    def _letters(self) -> list[str]:
        return sorted({*self.diagnosis.letters} - {""})[:4]

    def draw(self, axes: Axes) -> None:
        numbers = [layer.layer for layer in self.diagnosis.layers]
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        bounds = [layer.interval or (float("nan"),) * 2 for layer in self.diagnosis.layers]
        low, high = zip(*bounds, strict=True)
        axes.vlines(numbers, low, high, color="black", linewidth=1.2)
        axes.plot(numbers, [layer.share for layer in self.diagnosis.layers], color="black", marker="o", markersize=4)
        for letter, look in zip(self._letters, self._looks(), strict=False):
            axes.plot(numbers, [layer.by_letter[letter] for layer in self.diagnosis.layers], linewidth=1, **look)
        axes.set_ylim(-0.03, 1.03)
        whole_numbers(axes, numbers)

    def _looks(self) -> list[dict[str, Any]]:
        return [
            {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
            for color, line, marker in zip(COLORS, ("--", ":", "-.", "--"), MARKERS[1:], strict=False)
        ]

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        lines: list[Artist] = [Line2D([], [], color="black", marker="o", markersize=4, label="all pairs, 95% interval")]
        for letter, look in zip(self._letters, self._looks(), strict=False):
            lines.append(Line2D([], [], linewidth=1, label=f"matching ({letter})", **look))
        return lines


@dataclass(frozen=True)
class NormPanel(SharePanel):
    """By layer, the vector's norm, and what share of the activations' mean norm it is."""

    y_label: ClassVar[str] = "norm"

    def draw(self, axes: Axes) -> None:
        numbers = [layer.layer for layer in self.diagnosis.layers]
        axes.bar(numbers, [layer.norm for layer in self.diagnosis.layers], color="#bbbbbb", width=0.6)
        for layer in self.diagnosis.layers if len(numbers) <= NUMBERED else ():
            axes.annotate(
                f"{layer.relative:.0%}", (layer.layer, layer.norm), (0, 2), textcoords="offset points", ha="center",
                fontsize=7.5,
            )  # fmt: skip
        axes.margins(y=0.15)
        whole_numbers(axes, numbers)


@dataclass(frozen=True)
class HistogramPanel(Panel):
    """A layer's projections of both halves, a line a label."""

    diagnosis: Diagnosis
    layer: LayerDiagnosis

    x_label: ClassVar[str] = "projection on the unit vector"
    y_label: ClassVar[str] = "pairs"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False
    height: ClassVar[float] = 2.3

    @property
    def _groups(self) -> list[str | None]:
        names = label_names(self.diagnosis.labels)
        return list(names) if 1 < len(names) <= len(LINES) else [None]

    def draw(self, axes: Axes) -> None:
        labels = np.array([label or "" for label in self.diagnosis.labels])
        count = min(30, max(8, len(labels) // 8))
        bins = [float(edge) for edge in np.histogram_bin_edges(self.layer.projections, bins=count)]
        for line, group in zip(LINES, self._groups, strict=False):
            chosen = labels == group if group is not None else np.ones(len(labels), dtype=bool)
            for half, side in enumerate(SIDES):
                values = self.layer.projections[chosen, half]
                color = SIDE_COLORS[side]
                axes.hist(values, bins=bins, histtype="step", color=color, linestyle=line, linewidth=1.3)
                if len(self._groups) == 1:
                    axes.hist(values, bins=bins, color=color, alpha=0.15)
        axes.tick_params(labelsize=7.5)

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        return [
            Line2D([], [], color=SIDE_COLORS[side], linestyle=line, label=side + (f", {group}" if group else " answer"))
            for line, group in zip(LINES, self._groups, strict=False)
            for side in SIDES
        ]


def whole_numbers(axes: Axes, layers: Sequence[int]) -> None:
    """Ticks at layers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
    axes.set_xlim(min(layers) - 0.6, max(layers) + 0.6)


def share_panels(diagnosis: Diagnosis) -> list[SharePanel]:
    """How often, and how long."""
    few = len(diagnosis.layers) <= NUMBERED
    return [
        SharePanel(f"{diagnosis.name}: positive half projects higher, on {diagnosis.judged_on}", diagnosis),
        NormPanel("norm of the vector" + (", and its share of the activations' mean norm" if few else ""), diagnosis),
    ]


def histogram_panels(diagnosis: Diagnosis) -> list[HistogramPanel]:
    """A panel a layer."""
    return [HistogramPanel(f"layer {layer.layer}", diagnosis, layer) for layer in diagnosis.layers]
