"""A trace as one HTML file: nothing is loaded and nothing is run, so it can be sent and kept."""

from __future__ import annotations

from comparisons.interpret.trace import Trace
from comparisons.interpret.words import shown
from comparisons.report.templating import asset, fill

# Colours are laid over the page's own, so that they hold on a light and on a dark one.
POSITIVE, NEGATIVE = "213,94,0", "40,130,220"


def trace_page(trace: Trace, layer: int) -> str:
    """Renders a trace: the text in colours at every layer, and the map of token × layer.

    Args:
        trace: what to show.
        layer: whose text is open at first.
    """
    values = trace.values.tolist()

    def color(value: float) -> str:
        return f"background:rgba({POSITIVE if value > 0 else NEGATIVE},{min(1.0, abs(value) / trace.limit):.2f})"

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
        limit=f"{trace.limit:.3g}",
        scale=f"linear-gradient(to right, rgb({NEGATIVE}), transparent, rgb({POSITIVE}))",
        color=color,
        named=named,
        readable=_readable,
        shown=shown,
    )


def _readable(piece: str) -> str:
    """Running text: newlines and blanks stay, other control characters get a sign."""
    return "".join(c if c.isprintable() or c == "\n" else shown(c) for c in piece) or "·"
