"""Trainings of several processes, as accelerate and torchrun start them, against those of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from comparisons.method._trainer import share
from tests.forks import Command, Ended, Forks
from tests.parallel import PROGRAM

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
RUN = (
    "run --behavior refusal --methods sft:pos --set sft.learning_rate=1e-3 --set sft.epochs=2 --set sft.epoch=2 "
    "--set sft.batch_size=8 --train-items 20 --test-items 4 --knowledge none --device cpu --json"
)
"""2 epochs of 3 steps, of which the last has an odd number of items to share."""

ADAPTER_TOLERANCE = 2e-5
"""Of adapters whose largest weight is about 0.1: sums in another order, which Adam's steps of equal size enlarge."""


def launched(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder, in two processes that torchrun starts."""
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(ROOT / "tests/parallel.py"), "fine", *RUN.split()]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def forked(forks: Forks, folder: Path, count: int, mode: str = "fine") -> list[Ended]:
    """The same in forks, with the variables that torchrun gives its processes."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "ACCELERATE_USE_CPU": "1"}
    ranks = [{**common, "RANK": str(i), "LOCAL_RANK": str(i), "LOCAL_WORLD_SIZE": str(count)} for i in range(count)]
    arguments = [mode, *RUN.split()]
    return forks.run(
        *[Command(arguments, str(folder), variables=rank, program=PROGRAM, together=True) for rank in ranks]
    )


def check_equal(one: Path, other: Path) -> None:
    """Compares the adapters of all epochs, of one fit each."""
    files = sorted(one.glob("checkpoints/*/epoch-*/adapter_model.safetensors"))
    assert len(files) == 2
    for file in files:
        left, right = load_file(file), load_file(other / file.relative_to(one))
        assert max(float((left[key] - right[key]).abs().max()) for key in left) < ADAPTER_TOLERANCE


def test_a_batch_is_shared_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"input_ids": [i, i], "target": [i]} for i in range(5)]
    whole = share(rows)
    assert (whole["targets"].tolist(), whole["weight"].item()) == ([[0], [1], [2], [3], [4]], 1.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    first = share(rows)
    monkeypatch.setenv("RANK", "1")
    second = share(rows)
    assert (first["targets"].tolist(), second["targets"].tolist()) == ([[0], [2], [4]], [[1], [3]])
    # The processes' mean of weighted means is the mean of all.
    means = [float(part["targets"].float().mean() * part["weight"]) for part in (first, second)]
    assert sum(means) / 2 == pytest.approx(2.0)
    assert share(rows[:1])["weight"] == 0


def test_two_processes_train_what_one_trains_also_after_a_kill(forks: Forks, tmp_path: Path) -> None:
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    (alone,) = forked(forks, one, 1)
    both = launched(two)
    assert (alone.code, both.returncode) == (0, 0), both.stderr
    # The leader alone writes and prints: one JSON value.
    rows, expected = (json.loads(printed)["rows"] for printed in (both.stdout, alone.printed))
    assert [row["p_match"] for row in rows] == pytest.approx([row["p_match"] for row in expected], abs=1e-5)
    check_equal(one, two)
    assert all(ended.code for ended in forked(forks, killed, 2, "stop"))
    assert list(killed.glob("checkpoints/.*/scratch/checkpoint-2"))
    assert [ended.code for ended in forked(forks, killed, 2)] == [0, 0]
    check_equal(one, killed)


def test_a_process_that_fails_ends_all_with_one_line(forks: Forks, tmp_path: Path) -> None:
    failed = forked(forks, tmp_path, 2, "fail")
    assert all(ended.code and ended.printed == "" for ended in failed)
    (line,) = (line for ended in failed for line in ended.complaints)
    assert line.startswith("compare: process 1 of 2 failed, so all end: MemoryError: there is no more memory")
