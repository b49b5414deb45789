"""Pictures of traces and lenses, and a trace as one HTML file: nothing is loaded and nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from comparisons.interpret.trace import Trace, color_limit
from comparisons.interpret.words import shown
from comparisons.report.templating import asset, fill
from comparisons.util.drawing import BLUE, VERMILLION, WIDTH, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from comparisons.interpret.groups import GroupTrace
    from comparisons.interpret.lens import Lens

ENDS = ("#00446b", "#0072B2", "#f7f7f7", "#D55E00", "#8f3f00")
"""From below to above 0: blue and vermillion, as in the terminal and in HTML."""

LABELLED = 120
"""Tokens up to which each has its name below the map."""

ROW, TOKEN = 0.22, 0.13
"""Inches of a layer and of a token."""

WORD = 16
"""Characters of a token's name."""

# Colours are laid over the page's own, so that they hold on a light and on a dark one.
PAGE_POSITIVE, PAGE_NEGATIVE = "213,94,0", "40,130,220"

LEAST = 1e-15
"""The smallest probability that a lens shows."""

TITLES = {
    "attention": "attention's output",
    "residual": "residual after attention",
    "mlp": "MLP's output",
    "block": "block's output",
}


def trace_png(trace: Trace) -> bytes:
    """A map of layer × token; a line parts prompt and answer."""
    count = len(trace.ids)
    named = count <= LABELLED

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        image = _map(axes, trace.values, trace.layers, trace.limit)
        if trace.prompt_tokens < count:
            axes.axvline(trace.prompt_tokens - 0.5, color="black", linewidth=1)
        if named:
            names = [shown(piece, WORD) for piece in trace.pieces]
            axes.set_xticks(range(count), names, rotation=90, fontsize=7, family="monospace", parse_math=False)
        else:
            axes.set_xlabel("token")
        axes.set_ylabel("layer")
        axes.set_title(f"{trace.model}: projections on {trace.vector}", parse_math=False)
        figure.colorbar(image, ax=axes, label=trace.unit, extend="both", pad=0.01)

    height = 1.0 + (1.1 if named else 0.4) + max(1.2, ROW * len(trace.layers))
    return png(draw, (max(WIDTH, 1.8 + TOKEN * min(count, 400)), height))


def groups_png(trace: GroupTrace) -> bytes:
    """A map of layer × position for each group, on one scale, and one of their difference on its own."""
    means = [(f"{g.name}: mean of {g.items} items", g.values) for g in trace.groups]
    limit = color_limit(*(values for _, values in means))
    panels = [(title, values, limit) for title, values in means]
    if trace.difference is not None:
        names = " − ".join(group.name for group in trace.groups)
        panels.append((names, trace.difference, color_limit(trace.difference)))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        start = trace.positions[0]
        for axes, (title, values, most) in zip(grid, panels, strict=True):
            image = _map(axes, values, trace.layers, most)
            axes.axvline(0.5 - start, color="black", linewidth=1)
            axes.set_title(title, parse_math=False)
            axes.set_ylabel("layer")
            figure.colorbar(image, ax=axes, extend="both", pad=0.01)
        step = max(1, len(trace.positions) // 12)
        ticks = [i for i, position in enumerate(trace.positions) if position % step == 0]
        grid[-1].set_xticks(ticks, [str(trace.positions[i]) for i in ticks])
        grid[-1].set_xlabel("position (0: last prompt token; right of the line: generated)")
        # Broken in two: the unit is too long for the page beside the vector's name.
        figure.suptitle(f"{trace.model}: projections on {trace.vector}\n{trace.unit}", fontsize=9, parse_math=False)

    return png(draw, (WIDTH, 0.9 + len(panels) * (0.6 + max(1.0, ROW * len(trace.layers)))))


def lens_png(lenses: Sequence[Lens]) -> bytes:
    """The letters' probabilities by layer, a panel a part of the block.

    On a scale of powers of ten: up to the last blocks a real model gives letters next to nothing, and ever more.

    Args:
        lenses: one, or the changed and the unchanged one, which is dashed.
    """
    from matplotlib.ticker import MaxNLocator

    first = lenses[0]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True, sharey=True)
        for axes, (site, title) in zip(grid.flat, TITLES.items(), strict=True):
            for lens, line in zip(lenses, ("-", "--"), strict=False):
                for which, (color, marker) in enumerate(((BLUE, "o"), (VERMILLION, "s"))):
                    points = [(r.layer, max(r.letters[which], LEAST)) for r in lens.readings if r.site == site]
                    state = f", {lens.change or 'unchanged'}" if len(lenses) > 1 else ""
                    label = f"({lens.letters[which]}){state}"
                    axes.plot(*zip(*points, strict=True), line, color=color, marker=marker, markersize=4, label=label)
            axes.set_title(title)
            axes.set_yscale("log")
            axes.set_ylim(top=2)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in grid[1]:
            axes.set_xlabel("layer")
        for axes in grid[:, 0]:
            axes.set_ylabel(f"probability (at least {LEAST:g})")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=2)
        for text in legend.get_texts():
            text.set_parse_math(False)
        title = f"{first.model}: the letters' probabilities, read through the head, {first.where}"
        figure.suptitle(title, fontsize=9, parse_math=False)

    return png(draw, (WIDTH, 5.2))


def _map(axes: Axes, values: np.ndarray, layers: Sequence[int], limit: float) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("diverging", ENDS)
    image = axes.imshow(
        values, aspect="auto", cmap=colors, vmin=-limit, vmax=limit, origin="lower", interpolation="nearest"
    )
    step = max(1, len(layers) // 10)
    axes.set_yticks(range(0, len(layers), step), [str(layers[i]) for i in range(0, len(layers), step)])
    return image


def trace_page(trace: Trace, layer: int) -> str:
    """Renders a trace: the text in colours at every layer, and the map of token × layer.

    Args:
        trace: what to show.
        layer: whose text is open at first.
    """
    values, limit = trace.values.tolist(), trace.limit

    def color(value: float) -> str:
        return (
            f"background:rgba({PAGE_POSITIVE if value > 0 else PAGE_NEGATIVE},{min(1.0, abs(value) / trace.limit):.2f})"
        )

    def named(place: int, row: int) -> str:
        token = f"{shown(trace.pieces[place])} · token {place} · layer {trace.layers[row]}"
        return f"{token} · {values[row][place]:.4g}"

    return fill(
        "interpret/templates/trace.html",
        policy="default-src 'none'; style-src 'unsafe-inline'",
        style=asset("interpret/templates/trace.css"),
        trace=trace,
        values=values,
        open_layer=layer,
        limit=f"{limit:.3g}",
        scale=f"linear-gradient(to right, rgb({PAGE_NEGATIVE}), transparent, rgb({PAGE_POSITIVE}))",
        color=color,
        named=named,
        readable=_readable,
        shown=shown,
    )


def _readable(piece: str) -> str:
    """Running text: newlines and blanks stay, other control characters get a sign."""
    return "".join(c if c.isprintable() or c == "\n" else shown(c) for c in piece) or "·"
