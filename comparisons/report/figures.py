"""The report's figures: small multiples, one panel a behavior, as PNGs and as vector graphics inside a page.

In a page a panel stands alone. A mark that it named with `tip` gets its text as a `<title>`, which a pointer, the arrow
keys and a screen reader find, and the rest as `data-` attributes; colours of lines and letters become the page's, so
that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from comparisons.report.panels import TIP, Panel
from comparisons.util.drawing import STYLE, WIDTH, png
from comparisons.util.files import remove_leftovers, write_bytes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEMS = ("shift", "cost", "coherence", "kl", "side-effects", "layers", "sweep", "sweep-layers", "sweep-cost")
"""How the names of all figures begin."""

PAGE = 15.0
"""Inches: a taller figure is continued in the next picture."""


NARROW, WIDE = 4.2, 8.0
"""Inches of a panel that stands beside others, and of one as wide as the page."""

LOW = 2.0
"""Inches of a panel below which its scale of colours has no room for a title."""

PAGE_COLORS = {
    "#000000": "var(--ink)",
    "#666666": "var(--muted)",
    "#888888": "var(--muted)",
    "#dddddd": "var(--grid)",
    "#eeeeee": "var(--grid)",
    "#e4e4e4": "var(--grid)",
    "#bbbbbb": "var(--band)",
    "#c4c4c4": "var(--band)",
    "#ffffff": "var(--page)",
}
"""What the panels draw that is no data: each in the page's own colour."""

_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NAMESPACE = re.compile(r"\{[^}]*\}")


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


@dataclass(frozen=True)
class Chart:
    """A panel's drawing.

    Attributes:
        title: what the panel says; it may have two lines, and stands in HTML, where it can flow.
        svg: an element to stand in HTML.
        wide: whether it needs the width of a page.
    """

    title: str
    svg: str
    wide: bool


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a legend: its mark as an SVG element, and its text."""

    svg: str
    text: str


def charts(picture: Picture) -> tuple[list[Chart], list[LegendEntry]]:
    """Draws a picture's panels and the legend that they share.

    The same panels give the same text.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", {**STYLE, "svg.fonttype": "none", "svg.hashsalt": picture.name}]):
        drawn = []
        for panel in picture.panels:
            wide = panel.columns == 1
            figure = Figure(figsize=(WIDE if wide else NARROW, panel.height), layout="constrained")
            drawn.append((panel, figure, _draw_alone(figure, panel)))
        _share([axes for _, _, axes in drawn], picture.panels[0])
        panels = [
            Chart(p.title, _svg(figure, f"{picture.name}-{number}", f"{picture.text}: {p.title}"),
                  p.columns == 1)
            for number, (p, figure, _) in enumerate(drawn)
        ]  # fmt: skip
        keys = [_entry(handle, f"{picture.name}-key-{i}") for i, handle in enumerate(picture.panels[0].handles())]
    return panels, keys


def _draw_alone(figure: Figure, panel: Panel) -> Axes:
    from matplotlib.ticker import AutoLocator

    axes: Axes = figure.subplots()
    panel.draw(axes)
    axes.set_ylabel(panel.y_label)
    # Below the middle of the figure, where a long text fits, not of the axes.
    figure.supxlabel(panel.x_label, fontsize=9)
    if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        axes.locator_params(axis="x", nbins=5)
    panel.finish(figure, [axes])
    for bar in figure.axes[1:] if panel.height < LOW else []:
        bar.set_ylabel("")  # there is no room for it, and the picture's text says it
    return axes


def _share(every: Sequence[Axes], panel: Panel) -> None:
    """Gives the axes that panels of this kind share the limits that hold everything, so that they compare by eye."""
    if panel.shared_x:
        low, high = zip(*(axes.get_xlim() for axes in every), strict=True)
        for axes in every:
            axes.set_xlim(min(low), max(high))
    if panel.shared_y:
        starts, ends = zip(*(axes.get_ylim() for axes in every), strict=True)
        down = starts[0] > ends[0]
        for axes in every:
            axes.set_ylim(*((max(starts), min(ends)) if down else (min(starts), max(ends))))


def _entry(handle: Artist, name: str) -> LegendEntry:
    """A legend's mark alone; its text stands beside it in HTML, where it can flow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.42, 0.2))
    figure.legend([handle], [""], loc="center", handletextpad=0, borderpad=0, handlelength=2.4)
    return LegendEntry(_svg(figure, name, None), str(handle.get_label()))


def _svg(figure: Figure, name: str, label: str | None) -> str:
    """A figure as an element whose ids no other element of the page has; without a label it is decoration."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.patch.set_alpha(0.0 if axes.patch.get_facecolor()[:3] == (1.0, 1.0, 1.0) else None)
    data = io.StringIO()
    # Without the date, so that equal figures are equal texts; `savefig` would lay out in a drawing of its own before.
    FigureCanvasSVG(figure).print_svg(data, metadata={"Date": None})  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(_INVALID.sub("", data.getvalue()))
    _tidy(root, name)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{width:g}", "height": f"{height:g}"}
    if label is None:
        root.set("aria-hidden", "true")
    else:
        root.attrib |= {"class": "chart", "role": "img", "aria-label": " ".join(label.split()), "tabindex": "0"}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _tidy(root: ElementTree.Element, name: str) -> None:
    """Takes out what only a file needs, makes ids the page's, and turns marks' texts into titles."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _NAMESPACE.sub("", child.tag) in {"metadata", "style"}:
                parent.remove(child)
    used = set(re.findall(r"#([\w.:-]+)", " ".join(v for e in root.iter() for v in e.attrib.values())))
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        named = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
        element.attrib = {key: _local(key, value, name) for key, value in named.items()}
        id_ = element.attrib.pop("id", "")
        if id_.startswith(TIP):
            _describe(element, **json.loads(id_.removeprefix(TIP)))
        elif id_ in used:
            element.set("id", f"{name}-{id_}")
        if "style" in element.attrib:
            element.set("style", _styled(element.tag, element.attrib["style"]))


def _describe(element: ElementTree.Element, text: str, **about: str) -> None:
    """Gives a mark's group its text as a title, and what it is about as attributes."""
    for name, value in about.items():
        if value:
            element.set(f"data-{name}", _INVALID.sub("", value))
    if text:
        title = ElementTree.Element("title")
        title.text = _INVALID.sub("", text)
        element.insert(0, title)
        element.set("class", "mark")


def _local(key: str, value: str, name: str) -> str:
    """A reference to an id of the figure, as one of the page."""
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")


def _styled(tag: str, style: str) -> str:
    """A style in the page's letters and colours; black letters take the page's, others stand on data and stay."""
    if tag != "text":
        return re.sub(r"#[0-9a-f]{6}\b", lambda color: PAGE_COLORS.get(color[0], color[0]), style)
    return re.sub(r"font-family: [^;]*;?\s*", "", style).replace("#666666", PAGE_COLORS["#666666"])
