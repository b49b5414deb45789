"""The report of a run: made from the run's files alone, without a model.

Sections (`document`) make blocks (`blocks`), which every renderer writes in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.util.errors import StorageError, refusal

if TYPE_CHECKING:
    from comparisons.report.blocks import Document
    from comparisons.results.record import Record

FORMATS = {"md": "report.md", "html": "report.html", "latex": "table.tex", "csv": "table.csv"}
"""What a run can be written as, and the file of each; LaTeX and CSV are the main table alone."""


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
    from comparisons.results.record import read_record
    from comparisons.util.files import write_text

    record = read_record(run)
    try:
        texts = _texts(record, run / "figures", formats, see)
        for kind, text in texts.items():
            write_text(run / FORMATS[kind], text)
    except OSError as error:
        raise StorageError(f"the report in {run} can't be written: {refusal(error)}") from error
    return [run / FORMATS[kind] for kind in FORMATS if kind in texts]


def _texts(
    record: Record, figures: Path, formats: Collection[str], see: Callable[[Document], None] | None
) -> dict[str, str]:
    from comparisons.report.document import document, subject
    from comparisons.report.export import summary_csv, summary_latex
    from comparisons.report.figures import Gallery
    from comparisons.report.markdown import markdown
    from comparisons.report.page import page

    tables = {"latex": summary_latex, "csv": summary_csv}
    texts = {kind: write(record.summary) for kind, write in tables.items() if kind in formats}
    pages = {kind: write for kind, write in (("md", markdown), ("html", page)) if kind in formats}
    if pages:
        gallery = Gallery(figures, subject(record))
        report = document(record, gallery)
        gallery.remove_stale()
        if see is not None:
            see(report)
        texts |= {kind: write(report) for kind, write in pages.items()}
    return texts
