"""The report of a run: made from the run's files alone, without a model.

Sections (`document`) make blocks (`blocks`), which every renderer writes in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.util.errors import StorageError, refusal

if TYPE_CHECKING:
    from comparisons.report.blocks import Document
    from comparisons.results.record import Record

FORMATS = {"md": "report.md", "html": "report.html", "latex": "table.tex", "csv": "table.csv"}
"""What a run can be written as, and the file of each; LaTeX and CSV are the main table, with `CONTRASTS` beside it."""

CONTRASTS = {"latex": "contrasts.tex", "csv": "contrasts.csv"}
"""Where the contrasts go as a table, of a run that has some."""


def render(
    run: Path, formats: Collection[str] = ("md", "html"), see: Callable[[Document], None] | None = None
) -> list[Path]:
    """Writes a run's report into its folder, replacing what is there; report.md comes with figures/*.png.

    Args:
        run: the folder.
        formats: names of `FORMATS`.
        see: is shown the report, for a display of its own.

    Returns:
        The files, without the figures.

    Raises:
        CompareError: the folder is not a run, or a file of it is missing or broken.
        StorageError: it can't be written.
    """
    from comparisons.report.items import items_of
    from comparisons.results.record import read_record
    from comparisons.util.files import write_text

    record = _compared(run, read_record(run))
    items = items_of(run, record) if "html" in formats else None
    try:
        texts = _texts(record, run / "figures", formats, see, items)
        for name, text in texts.items():
            write_text(run / name, text)
    except OSError as error:
        raise StorageError(f"the report in {run} can't be written: {refusal(error)}") from error
    return [run / name for name in (*FORMATS.values(), *CONTRASTS.values()) if name in texts]


def _compared(run: Path, record: Record) -> Record:
    """The record with the contrasts of a run that was written before there were any, where it has its result rows."""
    from comparisons.results.cells import RESULTS, read_rows

    rows = record.summary.rows
    if record.is_sweep or not (run / RESULTS).exists() or any(row.n_clusters is not None for row in rows):
        return record
    from comparisons.evaluation.contrasts import compared
    from comparisons.evaluation.pooling import pooled

    found = read_rows(run, ("choices", "knowledge"), {row.cell for row in rows})
    again, contrasts = compared(rows, lambda cell: found.get(cell, []), record.margin, record.seed)
    over_behaviors = pooled(again, contrasts)
    summary = replace(record.summary, rows=tuple(again), contrasts=contrasts, pooled=over_behaviors)
    return replace(record, summary=summary)


def _texts(
    record: Record,
    figures: Path,
    formats: Collection[str],
    see: Callable[[Document], None] | None,
    items: Mapping[str, Any] | None,
) -> dict[str, str]:
    from comparisons.report.document import document, subject
    from comparisons.report.export import contrasts_csv, contrasts_latex, summary_csv, summary_latex
    from comparisons.report.figures import Gallery
    from comparisons.report.markdown import markdown
    from comparisons.report.page import page

    tables = {"latex": summary_latex, "csv": summary_csv}
    texts = {FORMATS[kind]: write(record.summary) for kind, write in tables.items() if kind in formats}
    if record.summary.contrasts:
        pairs = {"latex": contrasts_latex, "csv": contrasts_csv}
        texts |= {CONTRASTS[kind]: write(record.summary) for kind, write in pairs.items() if kind in formats}
    pages = {kind: write for kind, write in (("md", markdown), ("html", page)) if kind in formats}
    if pages:
        gallery = Gallery(figures, subject(record))
        report = replace(document(record, gallery), items=items)
        gallery.remove_stale()
        if see is not None:
            see(report)
        texts |= {FORMATS[kind]: write(report) for kind, write in pages.items()}
    return texts
