"""An interrupted training goes on from its last whole checkpoint, to the adapter of an uninterrupted one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comparisons.intervention import Intervention
from comparisons.method import Fit, TrainedAdapter, _checkpoints
from comparisons.model.meter import Costs, Work
from comparisons.util.artifacts import MANIFEST, SPENT, Store, scratch_of
from comparisons.util.files import read_sealed, write_sealed
from methods.dpo import DPO
from methods.sft import SFT
from tests.tiny import tiny_behavior, tiny_lm

pytestmark = pytest.mark.slow

PLAIN = SFT(learning_rate=1e-2, epochs=3, epoch=3, batch_size=8)
METHODS: dict[str, TrainedAdapter] = {
    "lora with dropout": replace(PLAIN, dropout=0.2),
    "whole matrices": replace(PLAIN, trainable="layer:1"),
    "dpo": DPO(learning_rate=1e-2, epochs=3, epoch=3, batch_size=8),
}
STEPS = 9
"""Of 3 epochs over 20 items in batches of 8."""


class Stopped(BaseException):
    """Stands for the signal that ends a process: no `except Exception` takes it."""


@pytest.fixture(autouse=True)
def a_checkpoint_a_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(_checkpoints, "SHARE", 1e9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fit(method: TrainedAdapter, out: Path, scratch: Path | None, stop_at: int | None = None) -> int:
    """Fits, or stops before a step; returns the steps taken, as which a whole fit's progress counts what it did."""
    steps, lm = 0, tiny_lm()
    work = lm.meter.work = Work(1e6, Costs(1.0, 1.0, 0.0))
    work.begins(1000 * STEPS)
    step = torch.optim.AdamW.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        if steps == stop_at:
            raise Stopped
        steps += 1
        return step(*args, **kwargs)

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counted)
        with suppress(Stopped):
            method.fit(Fit(lm, tiny_behavior(20), {}, "pos", 0, Intervention(), out, scratch))
    if stop_at is None:
        assert [work.done, work.spared] == pytest.approx([1000 * steps, 1000 * (STEPS - steps)])
    return steps


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", METHODS)
def test_no_step_is_repeated_and_the_adapter_is_the_same(name: str, tmp_path: Path) -> None:
    scratch, done = tmp_path / "scratch", 0
    scratch.mkdir()
    assert fit(METHODS[name], tmp_path / "whole", None) == STEPS
    # Killed in the first epoch, right after it, at the last step of the second, in the third.
    for stop_at in (1, 2, 2, 3):
        done += fit(METHODS[name], tmp_path / "out", scratch, stop_at)
        assert [int(path.name.rpartition("-")[2]) for path in scratch.glob("checkpoint-*")] in ([done], [done - 1])
        # What an epoch's last step did is kept by the epoch's end, which a kill in the next step follows.
    done += fit(METHODS[name], tmp_path / "out", scratch)
    assert done == STEPS
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_seconds_of_a_fit_count_what_it_went_on_from(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    fit(PLAIN, tmp_path / "out", scratch, 4)
    (checkpoint,) = scratch.glob("checkpoint-*")
    first = read_sealed(checkpoint / MANIFEST, "checkpoint")["seconds"]
    fit(PLAIN, tmp_path / "out", scratch, 2)
    assert 0.0 < first == read_sealed(scratch / SPENT, "fit")["seconds"]
    (checkpoint,) = scratch.glob("checkpoint-*")
    assert read_sealed(checkpoint / MANIFEST, "checkpoint")["seconds"] > first
    spent = {"seconds": 100.0}
    assert Store(tmp_path).get("made", {}, lambda out: write_sealed(scratch_of(out) / SPENT, spent)).seconds > 100.0


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    scratch, generator = tmp_path / "scratch", random.Random(0)
    scratch.mkdir()
    fit(PLAIN, tmp_path / "whole", None)
    fit(PLAIN, tmp_path / "out", scratch, 5)
    (checkpoint,) = scratch.glob("checkpoint-*")
    whole = contents(checkpoint)
    assert load_file(checkpoint / _checkpoints.WEIGHTS)
    for name, data in whole.items():
        for damaged in (data[:-2], data[: len(data) // 2], _flipped(data, generator)):
            (checkpoint / name).write_bytes(damaged)
            assert _checkpoints.Checkpoints(scratch).latest() is None, name
        (checkpoint / name).write_bytes(data)
    assert _checkpoints.Checkpoints(scratch).latest() == str(checkpoint)
    (scratch / "epoch-1" / "adapter_model.safetensors").write_bytes(b"")
    assert fit(PLAIN, tmp_path / "out", scratch) == STEPS
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def _flipped(data: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
