"""The results as a file, with what made them, and back."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from comparisons.util import __version__
from comparisons.util.files import read_json, write_json
from comparisons.util.plugins import package_version
from tests.validation.behaviors import Behaviors
from tests.validation.costs import Verdicts
from tests.validation.doses import Doses
from tests.validation.families import Family
from tests.validation.onmodel import ModelResults
from tests.validation.planted import Planted
from tests.validation.results import Results
from tests.validation.seeds import Seeds
from tests.validation.selections import Selection
from tests.validation.sentences import Sentences
from tests.validation.shuffles import Ranked, Uniformity
from tests.validation.simulations import Coverage, FalsePositives, Power, Sizes
from tests.validation.small import Labels, Small
from tests.validation.subjects import ModelSizes

NUMBERS = "validity-numbers.json"
MODEL_NUMBERS = "validity-model.json"


def write_results(results: Results, folder: Path, seconds: float) -> Path:
    """Writes the numbers with date, versions and machine."""
    path = folder / NUMBERS
    write_json(path, {**_made(seconds), **asdict(results)})
    return path


def write_model_results(results: ModelResults, folder: Path, seconds: float) -> Path:
    """Writes what was measured on the model, likewise."""
    made = _made(seconds)
    made["versions"].update({package: package_version(package) for package in ("torch", "transformers")})
    path = folder / MODEL_NUMBERS
    write_json(path, {**made, **asdict(results)})
    return path


def _made(seconds: float) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "versions": {"comparisons": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "machine": platform.machine(),
    }


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
        families=tuple(Family(**row) for row in data["families"]),
        sentences=tuple(Sentences(**row) for row in data["sentences"]),
        seeds=tuple(Seeds(**row) for row in data["seeds"]),
        behaviors=tuple(Behaviors(**row) for row in data["behaviors"]),
        small=tuple(Small(**_tuples(row)) for row in data["small"]),
        labels=tuple(Labels(**row) for row in data["labels"]),
        selections=tuple(Selection(**row) for row in data["selections"]),
    )


def read_model_results(path: Path) -> ModelResults:
    """Reads what `write_model_results` wrote.

    Raises:
        CompareError: the file is missing or broken.
    """
    data = read_json(path, "validation")
    return ModelResults(
        model=data["model"],
        digest=data["digest"],
        sizes=ModelSizes(**_tuples(data["sizes"])),
        ranks=tuple(Ranked(**_tuples(row)) for row in data["ranks"]),
        uniform=tuple(Uniformity(**row) for row in data["uniform"]),
        doses=tuple(Doses(**_tuples(row)) for row in data["doses"]),
        planted=tuple(Planted(**_tuples(row)) for row in data["planted"]),
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in fields.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(each) for each in value) if isinstance(value, list) else value
