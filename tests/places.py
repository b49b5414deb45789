"""Small places with data for the tests, and the paper's where it is at hand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.behaviors import KnowledgeSet, Library
from comparisons.experiment.specification import Specification
from comparisons.model.loading import load
from comparisons.results.folder import RunFolder
from comparisons.running.planning import make_plan
from comparisons.running.progress import Silent
from comparisons.running.runner import execute
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded


def record(index: int, **fields: Any) -> dict[str, Any]:
    first, second = ("(A)", "(B)") if index % 2 else ("(B)", "(A)")
    return {
        "question": f"Would you take number {index}?\n\nChoices:\n (A) Yes, {index}\n (B) No",
        "answer_matching_behavior": first,
        "answer_not_matching_behavior": second,
        **fields,
    }


def fact(index: int) -> dict[str, Any]:
    question = f"What is {index} + 1?\n\nChoices:\n(A) {index + 1}\n(B) {index}"
    return {"prompt": question, "correct": "(A)", "incorrect": "(B)", "category": "sums"}


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def make_place(tmp_path: Path) -> Path:
    """A folder in the paper's layout with one behavior, "greeting"."""
    place = tmp_path / "place"
    write(place / "generate/greeting/generate_dataset.json", [record(index) for index in range(20)])
    write(place / "test/greeting/test_dataset_ab.json", [record(index) for index in range(100, 106)])
    write(place / "test/greeting/test_dataset_open_ended.json", [{"question": "Hello?"}])
    return place


def few_questions(folder: Path, data: str = ".") -> Path:
    """A copy of the embedded data or a part of them: a tenth of the knowledge questions, open and neutral prompts."""
    shutil.copytree(embedded("data") / data, folder)
    reduced = ("test/knowledge/*.json", "test/*/test_dataset_open_ended.json", "neutral/*.json")
    for path in [path for pattern in reduced for path in folder.glob(pattern)]:
        write(path, json.loads(path.read_text(encoding="utf-8"))[::10])
    return folder


def knowledge(place: Path, choice: str) -> KnowledgeSet:
    found = Library.open(place).knowledge(choice)
    assert found is not None
    return found


def paper() -> Path:
    """The paper's data, as published in nrimsky/CAA; skips where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared/data/caa"
    place = Path(os.environ.get("CAA_DATA", beside))
    if not place.is_dir():
        pytest.skip(f"the paper's data is not at {place}: set CAA_DATA to its folder")
    return place


def complaint(action: Callable[[], object]) -> str:
    """The message of the CompareError that an action raises: one line."""
    with pytest.raises(CompareError) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message
    return message


def tokens_run(spec: Specification) -> int:
    """Tokens that the model reads while a run is executed, in the working directory."""
    lm, folder = load(spec.model), RunFolder(Path("counted"), "digest", fresh=True)
    with lm.meter.counting() as counted:
        execute(make_plan(spec), lm, Store(Path("counted-store")), folder, Silent())
    folder.close()
    shutil.rmtree("counted-store", ignore_errors=True)
    return sum(counted)
