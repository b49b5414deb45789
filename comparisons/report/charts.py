"""The report's figures as vector graphics inside a page, one a panel, drawn by the same code as the PNGs.

A mark that a panel named with `tips` gets its text as a `<title>`, which a pointer, the arrow keys and a screen
reader find; colours of lines and letters become the page's, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from comparisons.report.figures import Picture
from comparisons.report.panels import TIP, Panel
from comparisons.util.drawing import STYLE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
class Key:
    """An entry of a legend: its mark as an SVG element, and its text."""

    svg: str
    text: str


def charts(picture: Picture) -> tuple[list[Chart], list[Key]]:
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
            drawn.append((panel, figure, _draw(figure, panel)))
        _share([axes for _, _, axes in drawn], picture.panels[0])
        panels = [
            Chart(p.title, _svg(figure, f"{picture.name}-{number}", f"{picture.text}: {p.title}"),
                  p.columns == 1)
            for number, (p, figure, _) in enumerate(drawn)
        ]  # fmt: skip
        keys = [_key(handle, f"{picture.name}-key-{i}") for i, handle in enumerate(picture.panels[0].handles())]
    return panels, keys


def _draw(figure: Figure, panel: Panel) -> Axes:
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


def _key(handle: Artist, name: str) -> Key:
    """A legend's mark alone; its text stands beside it in HTML, where it can flow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.42, 0.2))
    figure.legend([handle], [""], loc="center", handletextpad=0, borderpad=0, handlelength=2.4)
    return Key(_svg(figure, name, None), str(handle.get_label()))


def _svg(figure: Figure, name: str, label: str | None) -> str:
    """A figure as an element whose ids no other element of the page has; without a label it is decoration."""
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.patch.set_alpha(0.0 if axes.patch.get_facecolor()[:3] == (1.0, 1.0, 1.0) else None)
    data = io.StringIO()
    # Without the date, so that equal figures are equal texts.
    figure.savefig(data, format="svg", metadata={"Date": None})
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
            title = ElementTree.Element("title")
            title.text = id_.removeprefix(TIP)
            element.insert(0, title)
            element.set("class", "mark")
        elif id_ in used:
            element.set("id", f"{name}-{id_}")
        if "style" in element.attrib:
            element.set("style", _styled(element.tag, element.attrib["style"]))


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
