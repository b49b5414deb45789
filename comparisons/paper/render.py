"""Writes the paper's figures and tables of a run into its folder `paper/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comparisons.paper.curves import Curve, curves
from comparisons.paper.figures import behavior_panels, category_panels, label_panels, layer_panels, multiplier_panels
from comparisons.paper.published import PublishedModel
from comparisons.paper.replicate import Line
from comparisons.report.export import csv_text, latex_text
from comparisons.report.figures import write_panels
from comparisons.report.markdown import rendered
from comparisons.results.summary import read_summary
from comparisons.util.errors import CompareError
from comparisons.util.files import write_text
from comparisons.util.table import NOTHING, Column, Row, Table, interval, number

FOLDER = "paper"


def write_paper(run: Path) -> list[Path]:
    """Draws the figures that the run has data for, and writes its curves as CSV and LaTeX.

    Raises:
        CompareError: the folder is no run, or it has no vector's cell.
    """
    summary = read_summary(run)
    found = curves(summary)
    if not found:
        raise CompareError(f"{run}: no cell of it adds a vector at one layer: there is nothing that the paper draws.")
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    for stem, panels, text in (
        ("by-layer", layer_panels(found), "p_match by layer"),
        ("by-multiplier", multiplier_panels(found), "p_match by multiplier"),
        ("over-behaviors", behavior_panels(found), "p_match by multiplier, all behaviors"),
        ("by-label", label_panels(summary, found), "Shift by multiplier and label"),
        ("by-category", category_panels(summary, found), "Knowledge by category"),
    ):
        # A figure's panels share their size: panels of very different height stand in figures of their own.
        written += [folder / picture.name for picture in write_panels(folder, stem, panels, text)]
    return [*written, *_curve_tables(folder, found)]


def _curve_tables(folder: Path, found: Sequence[Curve]) -> list[Path]:
    header = ["behavior", "vector", "context", "layer", "multiplier", "p_match", "low", "high"]
    rows = [
        [c.behavior, c.vector, c.context, c.layer, p.multiplier, p.p_match, *(p.interval or (None, None))]
        for c in found
        for p in c.points
    ]
    write_text(folder / "curves.csv", csv_text(header, rows))
    multipliers = sorted({point.multiplier for curve in found for point in curve.points})
    lines = []
    for curve in found:
        values = {point.multiplier: f"{point.p_match:.2f}" for point in curve.points}
        where = "" if curve.layer is None else str(curve.layer)
        lines.append(
            [curve.behavior, curve.vector, curve.context, where, *(values.get(m, NOTHING) for m in multipliers)]
        )
    titles = ["behavior", "vector", "on", "layer", *(f"{m:+g}" if m else "0" for m in multipliers)]
    write_text(folder / "curves.tex", latex_text(titles, lines, "p(matching) by multiplier"))
    return [folder / "curves.csv", folder / "curves.tex"]


def write_replication(run: Path, found: Sequence[Line], model: PublishedModel, notes: Sequence[str]) -> list[Path]:
    """Writes ours beside theirs as Markdown, CSV and LaTeX into a run's folder `paper/`."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    table = replication_table(found, model, notes)
    names = [folder / f"replication.{kind}" for kind in ("md", "csv", "tex")]
    title = f"Ours beside {model.name}"
    write_text(names[0], f"# {title}\n\n{rendered(table)}\n")
    header = ["behavior", "on", "multiplier", "ours", "low", "high", "theirs", "difference"]
    rows = [
        [x.behavior, x.context, x.multiplier, x.ours, *(x.ours_ci or (None, None)), x.theirs, x.difference]
        for x in found
    ]
    write_text(names[1], csv_text(header, rows))
    shown = [(row.group, *row.cells) for row in table.rows]
    write_text(names[2], latex_text(["behavior", *(c.title for c in table.columns)], shown, title))
    return names


def replication_table(found: Sequence[Line], model: PublishedModel, notes: Sequence[str]) -> Table:
    """Ours, theirs and the difference, a line a number."""
    columns = (
        Column("behavior", align="left"),
        Column("on", align="left"),
        Column("multiplier"),
        Column("ours"),
        Column("95% CI", interval=True, rank=2),
        Column("theirs"),
        Column("difference"),
    )
    rows = tuple(
        Row(
            (
                line.behavior,
                line.context,
                f"{line.multiplier:+g}" if line.multiplier else "0",
                number(line.ours),
                interval(line.ours_ci),
                NOTHING if line.theirs is None else f"{line.theirs:.2f}",
                number(line.difference, signed=True),
            ),
            line.behavior,
        )
        for line in found
    )
    return Table(columns, rows, tuple(notes))
