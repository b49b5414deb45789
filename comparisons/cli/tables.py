"""Prints tables to stdout: as wide as the terminal or $COLUMNS, or 140 columns where there is neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from comparisons.report.summary import SummaryRow

PIPE_WIDTH = 140


def stdout() -> Console:
    """The console that results go to."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPE_WIDTH)


def show(rows: Sequence[SummaryRow]) -> None:
    """Prints the summary table of a run."""
    from comparisons.report.terminal import terminal_table

    console = stdout()
    console.print(terminal_table(rows, console.width))
