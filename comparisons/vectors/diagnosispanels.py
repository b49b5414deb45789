"""The panels of a diagnosis: how often the positive half projects higher, norms, and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from comparisons.report.panels import Panel
from comparisons.util.drawing import COLORS, GREY, MARKERS
from comparisons.vectors.components import SIDES
from comparisons.vectors.diagnose import Diagnosis, LayerDiagnosis, label_names
from comparisons.vectors.panels import NUMBERED, SIDE_COLORS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class SharePanel(Panel):
    """By layer, how often the positive half projects higher: of all pairs with its interval, and by letter."""

    found: Diagnosis

    x_label: ClassVar[str] = "layer (block, counted from 0)"
    y_label: ClassVar[str] = "share of pairs"
    shared_y: ClassVar[bool] = False

    @property
    def height(self) -> float:
        return 2.6

    @property
    def columns(self) -> int:
        return 1

    @property
    def _letters(self) -> list[str]:
        return sorted(set(self.found.letters))[:4]

    def draw(self, axes: Axes) -> None:
        numbers = [layer.layer for layer in self.found.layers]
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        bounds = [layer.interval or (float("nan"),) * 2 for layer in self.found.layers]
        low, high = zip(*bounds, strict=True)
        axes.vlines(numbers, low, high, color="black", linewidth=1.2)
        axes.plot(numbers, [layer.share for layer in self.found.layers], color="black", marker="o", markersize=4)
        for letter, look in zip(self._letters, self._looks(), strict=False):
            axes.plot(numbers, [layer.by_letter[letter] for layer in self.found.layers], linewidth=1, **look)
        axes.set_ylim(-0.03, 1.03)
        whole_numbers(axes, numbers)

    def _looks(self) -> list[dict[str, Any]]:
        return [
            {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
            for color, line, marker in zip(COLORS, ("--", ":", "-.", "--"), MARKERS[1:], strict=False)
        ]

    def handles(self) -> list[Artist]:
        from matplotlib.lines import Line2D

        found: list[Artist] = [Line2D([], [], color="black", marker="o", markersize=4, label="all pairs, 95% interval")]
        for letter, look in zip(self._letters, self._looks(), strict=False):
            found.append(Line2D([], [], linewidth=1, label=f"matching ({letter})", **look))
        return found


@dataclass(frozen=True)
class NormPanel(SharePanel):
    """By layer, the vector's norm, and what share of the activations' mean norm it is."""

    y_label: ClassVar[str] = "norm"

    def draw(self, axes: Axes) -> None:
        numbers = [layer.layer for layer in self.found.layers]
        axes.bar(numbers, [layer.norm for layer in self.found.layers], color="#bbbbbb", width=0.6)
        for layer in self.found.layers if len(numbers) <= NUMBERED else ():
            axes.annotate(
                f"{layer.relative:.0%}", (layer.layer, layer.norm), (0, 2), textcoords="offset points", ha="center",
                fontsize=7.5,
            )  # fmt: skip
        axes.margins(y=0.15)
        whole_numbers(axes, numbers)


@dataclass(frozen=True)
class HistogramPanel(Panel):
    """A layer's projections of both halves, a line a label."""

    found: Diagnosis
    layer: LayerDiagnosis

    x_label: ClassVar[str] = "projection on the unit vector"
    y_label: ClassVar[str] = "pairs"
    shared_x: ClassVar[bool] = False
    shared_y: ClassVar[bool] = False

    @property
    def height(self) -> float:
        return 2.3

    @property
    def columns(self) -> int:
        return 2

    @property
    def _groups(self) -> list[str | None]:
        names = label_names(self.found.labels)
        return list(names) if 1 < len(names) <= len(LINES) else [None]

    def draw(self, axes: Axes) -> None:
        labels = np.array([label or "" for label in self.found.labels])
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


def share_panels(found: Diagnosis) -> list[SharePanel]:
    """How often, and how long."""
    few = len(found.layers) <= NUMBERED
    return [
        SharePanel(f"{found.name}: positive half projects higher, on {found.judged_on}", found),
        NormPanel("norm of the vector" + (", and its share of the activations' mean norm" if few else ""), found),
    ]


def histogram_panels(found: Diagnosis) -> list[HistogramPanel]:
    """A panel a layer."""
    return [HistogramPanel(f"layer {layer.layer}", found, layer) for layer in found.layers]
