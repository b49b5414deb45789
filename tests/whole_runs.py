"""One whole run, as small as one that fits, trains, chooses, evaluates and reports can be, and what it must come to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from comparisons.results.cells import CELLS, RESULTS
from comparisons.results.folder import SUMMARY, run_faults
from comparisons.util.artifacts import artifact_fault

SFT = "--set sft.epochs=2 --set sft.learning_rate=1e-3 --set sft.target_modules=q_proj"
GRID = "--behavior refusal --train-items 24 --test-items 6 --layer 1 --knowledge none"
ARGUMENTS = f"run --methods caa,sysprompt,sft {GRID} --directions pos {SFT} --out out".split()
MORE = "--generated-choices --open-ended --tokens 8 --set sft.epoch=1 --set dpo.epochs=1 --set dpo.learning_rate=1e-3"
FRESH = (
    "run --behavior refusal --data few --methods caa,random_vector,sft,sysprompt,sft+caa,dpo --layer 1 "
    f"--train-items 16 --test-items 3 --set sft.epochs=1 --set sft.learning_rate=1e-3 {MORE} --out out"
).split()
"""The main job and more, for a process that has loaded nothing before."""

NOT_COMPARED = ("_seconds", "_bytes", "tokens_run")


def numbers(run: Path) -> list[dict[str, Any]]:
    """The summary's rows without what a clock or a memory gauge says."""
    rows = json.loads((run / SUMMARY).read_text())["rows"]
    return [{key: value for key, value in row.items() if not key.endswith(NOT_COMPARED)} for row in rows]


def cell_files(run: Path) -> list[Path]:
    """The files of a run's cells, in the order in which they were written."""
    heads = {path: json.loads(path.read_bytes().splitlines()[0]) for path in (run / CELLS).glob("*.jsonl")}
    return sorted(heads, key=lambda path: heads[path]["written"])


def asked(run: Path) -> Counter[tuple[str, ...]]:
    """How often each question stands in the results, by the seed of its fit."""
    rows = [json.loads(line) for line in (run / RESULTS).read_text().splitlines()]
    return Counter((row["cell"], row["evaluation"], row["item"], row["order"], str(row.get("seed"))) for row in rows)


def check_equal(folder: Path, reference: Path) -> None:
    """Asserts that a run came to the reference's numbers, and left nothing that is half or doubled.

    A resumed run asks fewer cells together, so the last digits may differ.
    """
    for found, expected in zip(numbers(folder / "out"), numbers(reference / "out"), strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if name == "fits" and value is not None:
                assert {part: found[name][part] for part in value} == {
                    part: number if part == "seeds" else pytest.approx(number, abs=1e-6)
                    for part, number in value.items()
                }, name
            elif isinstance(value, (float, list)):
                # Intervals over few questions are many standard errors wide, logits steeper than probabilities; a
                # skewness is a difference's third power over that of its spread.
                least = 1e-3 if name == "skewness" else 1e-5 if name.startswith(("content", "letter")) else 1e-6
                assert found[name] == pytest.approx(value, abs=1e-4 if isinstance(value, list) else least), name
            else:
                assert found[name] == value, name
    assert asked(folder / "out") == asked(reference / "out")
    assert set(asked(folder / "out").values()) == {1}
    assert faults(folder) == []
    assert [path.name for path in folder.glob("checkpoints/.*.making")] == []


def faults(folder: Path) -> list[str]:
    """What is damaged under a working directory."""
    artifacts = [path for path in folder.glob("checkpoints/*") if not path.name.startswith(".")]
    runs = [path for path in folder.iterdir() if (path / "run.json").exists()]
    found = [artifact_fault(path) for path in artifacts] + [fault for run in runs for fault in run_faults(run)]
    return [fault for fault in found if fault]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
