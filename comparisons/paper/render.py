"""Writes the paper's figures and tables of a run into its folder `paper/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from comparisons.paper.figures import (
    Curve,
    behavior_panels,
    category_panels,
    curves,
    label_panels,
    layer_panels,
    multiplier_panels,
)
from comparisons.paper.replicate import Line, PublishedModel
from comparisons.report.export import csv_text, latex_text
from comparisons.report.figures import write_panels
from comparisons.report.markdown import rendered
from comparisons.results.folder import read_summary
from comparisons.util.errors import CompareError
from comparisons.util.files import write_text
from comparisons.util.table import NOTHING, Column, Table, interval, number

FOLDER = "paper"


def write_paper(run: Path) -> list[Path]:
    """Draws the figures that the run has data for, and writes its curves as CSV and LaTeX.

    Raises:
        CompareError: the folder is no run, or it has no vector's cell.
    """
    summary = read_summary(run)
    drawn = curves(summary)
    if not drawn:
        raise CompareError(f"{run}: no cell of it adds a vector at one layer: there is nothing that the paper draws.")
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    for stem, panels, text in (
        ("by-layer", layer_panels(drawn), "p_match by layer"),
        ("by-multiplier", multiplier_panels(drawn), "p_match by multiplier"),
        ("over-behaviors", behavior_panels(drawn), "p_match by multiplier, all behaviors"),
        ("by-label", label_panels(summary, drawn), "Shift by multiplier and label"),
        ("by-category", category_panels(summary, drawn), "Knowledge by category"),
    ):
        # A figure's panels share their size: panels of very different height stand in figures of their own.
        written += [folder / picture.name for picture in write_panels(folder, stem, panels, text)]
    return [*written, *_curve_tables(folder, drawn)]


def _curve_tables(folder: Path, drawn: Sequence[Curve]) -> list[Path]:
    header = ["behavior", "vector", "context", "layer", "multiplier", "p_match", "low", "high"]
    rows = [
        [c.behavior, c.vector, c.context, c.layer, p.multiplier, p.p_match, *(p.interval or (None, None))]
        for c in drawn
        for p in c.points
    ]
    write_text(folder / "curves.csv", csv_text(header, rows))
    multipliers = sorted({point.multiplier for curve in drawn for point in curve.points})
    lines = []
    for curve in drawn:
        values = {point.multiplier: f"{point.p_match:.2f}" for point in curve.points}
        layer = "" if curve.layer is None else str(curve.layer)
        numbers = (values.get(multiplier, NOTHING) for multiplier in multipliers)
        lines.append([curve.behavior, curve.vector, curve.context, layer, *numbers])
    titles = ["behavior", "vector", "on", "layer", *map(_times, multipliers)]
    write_text(folder / "curves.tex", latex_text(titles, lines, "p(matching) by multiplier"))
    return [folder / "curves.csv", folder / "curves.tex"]


def _times(multiplier: float) -> str:
    return f"{multiplier:+g}" if multiplier else "0"


REPLICATION: tuple[tuple[Column, Callable[[Line], str]], ...] = (
    (Column("behavior", align="left"), lambda line: line.behavior),
    (Column("on", align="left"), lambda line: line.context),
    (Column("multiplier"), lambda line: _times(line.multiplier)),
    (Column("ours"), lambda line: number(line.ours)),
    (Column("95% CI", interval=True, rank=2), lambda line: interval(line.ours_ci)),
    (Column("theirs"), lambda line: number(line.theirs, places=2)),
    (Column("difference"), lambda line: number(line.difference, signed=True)),
)


def replication_table(lines: Sequence[Line], notes: Sequence[str]) -> Table:
    """Ours, theirs and the difference, a line a number."""
    return Table.of(REPLICATION, lines, lambda line: line.behavior, notes)


def write_replication(run: Path, lines: Sequence[Line], model: PublishedModel, notes: Sequence[str]) -> list[Path]:
    """Writes ours beside theirs as Markdown, CSV and LaTeX into a run's folder `paper/`."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    table = replication_table(lines, notes)
    names = [folder / f"replication.{kind}" for kind in ("md", "csv", "tex")]
    title = f"Ours beside {model.name}"
    write_text(names[0], f"# {title}\n\n{rendered(table)}\n")
    header = ["behavior", "on", "multiplier", "ours", "low", "high", "theirs", "difference"]
    rows = [
        [x.behavior, x.context, x.multiplier, x.ours, *(x.ours_ci or (None, None)), x.theirs, x.difference]
        for x in lines
    ]
    write_text(names[1], csv_text(header, rows))
    shown = [(row.group, *row.cells) for row in table.rows]
    write_text(names[2], latex_text(["behavior", *(c.title for c in table.columns)], shown, title))
    return names
