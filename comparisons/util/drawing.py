"""One look for all figures: colours that are told apart, and PNGs that are equal where the drawing is."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which white swallows; markers repeat less often than colours."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")

WIDTH = 8.0
"""Inches; at 150 dots an inch a page of 900 pixels shows the text at three quarters of its size."""

DPI = 150

STYLE: Mapping[str, Any] = {
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


def png(draw: Callable[[Figure], None], size: tuple[float, float], style: Mapping[str, Any] = STYLE) -> bytes:
    """Draws a figure without global state and without a display; the same drawing gives the same bytes.

    Args:
        size: width and height in inches.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", dict(style)]), warnings.catch_warnings():
        # A text may hold a character that the font lacks; it is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        data = io.BytesIO()
        # Without the name and version of the program that drew it: equal figures are equal files. `print_figure`
        # would lay out in a drawing of its own before.
        canvas.print_png(data, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return data.getvalue()
