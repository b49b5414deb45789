"""What `compare bench` says of a whole run, and the subjects that it writes."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comparisons.bench.subjects import SHAPES, STANDARD, open_subject
from comparisons.cli import execute as run
from comparisons.model.source import ModelSource


def test_the_seconds_of_a_whole_run_stand_by_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = "--behavior refusal --methods caa --layer 1 --train-items 16 --test-items 4 --knowledge none"
    started = time.perf_counter()
    assert run(["bench", "--whole", f"run {asked}"]) == 0
    took = time.perf_counter() - started
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    rows = [re.split(r" {2,}", line) for line in lines if line.endswith("%")]
    stages = {stage: float(seconds) for stage, seconds, _, _ in rows}
    assert next(iter(stages)) == "libraries, data and model" and list(stages)[-1] == "summary and report"
    assert {"fit caa on refusal", "evaluate baseline, caa on refusal"} <= set(stages)
    assert 0.5 * took < sum(stages.values()) <= took + 0.05 * len(stages)
    assert not list(tmp_path.iterdir())
    assert run(["bench", "--whole", f"walk {asked}"]) == 2
    assert "'walk' is neither run nor sweep" in capsys.readouterr().err


def test_a_random_subject_is_written_as_a_model_and_mistakes_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, STANDARD, replace(SHAPES[STANDARD], blocks=2, width=64, intermediate=96, heads=2))
    assert run(["bench", "--write", str(tmp_path / "made")]) == 0
    folder = ModelSource(str(tmp_path / "made"), device="cpu")
    made, read = open_subject(ModelSource(STANDARD)), open_subject(folder)
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), read.model.parameters(), strict=True))
    assert len(open_subject(replace(folder, quantize="4bit")).blocks) == 2
    capsys.readouterr()
    for arguments, message in (
        (["--write", str(tmp_path / "made")], "is there and not empty"),
        (["--write", str(tmp_path / "made" / "config.json" / "below")], "can't be made: File exists; give --write"),
        (["--write", str(tmp_path / "other"), "--model", "pocket"], "makes a random model, and 'pocket' is none"),
        (["--quantize", "4bit"], "--quantize is for a checkpoint: write standard to a folder by --write"),
        (["--prompt-format", "chat"], "--prompt-format is for a checkpoint"),
        (["--blocks", "model.layers"], "--blocks is for a checkpoint"),
        (["--offload", "away"], "--offload is for a checkpoint"),
        (["--trust-remote-code"], "--trust-remote-code is for a checkpoint"),
    ):
        assert run(["bench", *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "other").exists()
