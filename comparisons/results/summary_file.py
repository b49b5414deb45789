"""A run's summary.json, read and held to its types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from comparisons.results.answers import Judges
from comparisons.results.schema import Contrast, Pooled
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.errors import CompareError
from comparisons.util.files import read_sealed
from comparisons.util.table import Section

SUMMARY = "summary.json"


def read_summary(run: Path) -> Summary:
    """Reads a run's summary.json.

    Raises:
        CompareError: the folder is missing, is no run or an unfinished one, or its summary is broken.
    """
    if not run.is_dir():
        raise CompareError(f"there is no run in {run}: name a folder that `compare run` has written.")
    path = run / SUMMARY
    if not path.exists() and not (run / "run.json").exists():
        raise CompareError(f"{run} is not a run, it has no run.json: name a folder that `compare run` has written.")
    if not path.exists():
        raise CompareError(f"the run in {run} has not ended, it has no {SUMMARY}: its command again resumes it.")
    summary = read_sealed(path, "summary")
    rows = summary.get("rows") if isinstance(summary, dict) else None
    if not isinstance(rows, list) or not rows:
        raise CompareError(f'{path} has no list "rows": the command of the run again writes it anew.')
    return Summary(
        tuple(_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)),
        _held(_JUDGES, summary.get("judges", {}), "judges", path, "compare score writes it anew"),
        _held(_SECTIONS, summary.get("sections", {}), "sections", path, "run again its command"),
        _held(_CONTRASTS, summary.get("contrasts", []), "contrasts", path, "run again its command"),
        _held(_POOLED, summary.get("pooled", []), "pooled", path, "run again its command"),
    )


_ROW, _JUDGES, _SECTIONS = TypeAdapter(SummaryRow), TypeAdapter(Judges), TypeAdapter(dict[str, Section])
_CONTRASTS, _POOLED = TypeAdapter(Sequence[Contrast]), TypeAdapter(Sequence[Pooled])


def _held(adapter: TypeAdapter[Any], value: Any, name: str, path: Path, mend: str) -> Any:
    """A part of the summary, held to its type."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise CompareError(f'{path}: "{name}" is not as this program writes it: {mend}.') from error


def _row(value: Any, where: str) -> SummaryRow:
    """Holds one row to its fields' types; what is missing and not required has its default."""
    if not isinstance(value, dict):
        raise CompareError(f"{where}: not an object.")
    known = {f.name for f in fields(SummaryRow)}
    odd = next((name for name in value if name not in known), None)
    if odd is not None:
        raise CompareError(f"{where}: unknown field '{odd}', written by another version of this program.")
    row = {"direction": None, **value}
    try:
        # As JSON: strictly, a dataclass is made of nothing else.
        _ROW.validate_json(json.dumps(row))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        what = f"can't be {value[name]!r}" if name in value else "is missing"
        raise CompareError(f"{where}: the field '{name}' {what}.") from error
    return SummaryRow(**{**row, "warnings": tuple(row.get("warnings", ()))})
