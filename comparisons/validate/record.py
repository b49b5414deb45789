"""The results as a file, with what made them, and back."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from comparisons import __version__
from comparisons.files import read_json, write_json
from comparisons.validate.results import Results
from comparisons.validate.simulations import Coverage, FalsePositives, Power, Sizes, Verdicts

NUMBERS = "validity-numbers.json"


def write_results(results: Results, folder: Path, seconds: float) -> Path:
    """Writes the numbers with date, versions and machine."""
    made = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "versions": {"comparisons": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "machine": platform.machine(),
    }
    path = folder / NUMBERS
    write_json(path, {**made, **asdict(results)})
    return path


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote.

    Raises:
        CompareError: the file is missing or broken.
    """
    data = read_json(path, "validation")
    return Results(
        sizes=Sizes(**_tuples(data["sizes"])),
        coverage=tuple(Coverage(**row) for row in data["coverage"]),
        false_positives=tuple(FalsePositives(**row) for row in data["false_positives"]),
        verdicts=tuple(Verdicts(**row) for row in data["verdicts"]),
        power=tuple(Power(**_tuples(row)) for row in data["power"]),
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
