"""Prints tables to stdout: as wide as the terminal or $COLUMNS, or 140 columns where there is neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from comparisons.report.blocks import Document

PIPE_WIDTH = 140


def stdout() -> Console:
    """The console that results go to."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPE_WIDTH)


def page(document: Document) -> None:
    """Shows a whole report in the terminal's pager, in color where `less` is the pager."""
    from comparisons.report.terminal import renderables

    os.environ.setdefault("LESS", "-RFX")
    console = stdout()
    with console.pager(styles=console.is_terminal and "NO_COLOR" not in os.environ):
        for renderable in renderables(document, console.width):
            console.print(renderable)


def show(run: Path, written: Sequence[Path] = (), told: bool = False) -> None:
    """Prints what a run found, and where its report is: of a sweep the best settings only.

    Args:
        written: the files of its report; those that every run has where none are named.
        told: whether it has been said already what was asked.
    """
    from comparisons.report.asked import asked_of
    from comparisons.report.sections import sections
    from comparisons.report.sweepsections import best_table
    from comparisons.report.terminal import rich_table, terminal_table
    from comparisons.results.findings import answers
    from comparisons.results.gates import gates
    from comparisons.results.record import read_record

    console, record = stdout(), read_record(run)
    if not told and (asked := asked_of(record)):
        console.print(asked, markup=False, highlight=False, soft_wrap=True)
    limits = gates(record.summary)
    for line in record.measured:
        console.print(line, markup=False, highlight=False)
    for gate in limits:
        console.print(f"! {gate.text}", style="yellow", markup=False, highlight=False)
    if record.measured or limits:
        console.print()
    if record.is_sweep:
        best = best_table(record.summary, top=1)
        console.print(rich_table(best, console.width) if best.rows else "Every cell failed.")
    else:
        console.print(terminal_table(record.summary.rows, console.width))
        for section in sections():
            if (table := section.table(record.summary.rows)) is not None:
                console.print(f"\n{section.title}", highlight=False)
                console.print(rich_table(table, console.width))
        console.print()
        for name in record.summary.subjects:
            for text in answers(record.summary.of(name), record.summary.contrasts):
                console.print(text, markup=False, highlight=False)
    for path in written or (run / "report.md", run / "report.html"):
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
