"""Reads the result rows of a run without opening it for writing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from comparisons.results.cellfiles import JOURNAL, RESULTS
from comparisons.results.folder import run_faults
from comparisons.util.errors import CompareError
from comparisons.util.files import load_json

Row = dict[str, Any]


def read_rows(
    run: Path, evaluations: Collection[str] | None = None, cells: Collection[str] | None = None
) -> dict[str, list[Row]]:
    """The rows of some cells and evaluations, by cell, or of all; lines of other evaluations are not parsed.

    Raises:
        CompareError: the file can't be read or is damaged, or a line is no row.
    """
    if cells and (run / JOURNAL).exists() and (faults := run_faults(run)):
        raise CompareError(faults[0])
    path, found = run / RESULTS, dict[str, list[Row]]()
    marks = [f'"evaluation": "{name}"'.encode() for name in evaluations] if evaluations is not None else [b""]
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not any(mark in line for mark in marks):
                    continue
                row = _row(line, f"{path}, line {number}")
                wanted = evaluations is None or row["evaluation"] in evaluations
                if wanted and (cells is None or row["cell"] in cells):
                    found.setdefault(row["cell"], []).append(row)
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error
    return found


def _row(line: bytes, where: str) -> Row:
    row = load_json(line.decode(errors="replace"), where)
    if not (isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("cell", "evaluation", "item"))):
        raise CompareError(f"{where}: is no row as this program writes them.")
    return row
