"""Checkpoints of a training that was interrupted: written whole, checked before use, resumed to the same result."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from comparisons.model import processes
from comparisons.model.offload import is_offloaded
from comparisons.util.artifacts import MANIFEST, SPENT, folder_fault, seal
from comparisons.util.files import read_sealed, write_sealed

EVERY = 30.0
"""Seconds between checkpoints, at least."""
SHARE = 0.05
"""At most so much of the time goes into them."""

WEIGHTS, EPOCH_START = "trained.safetensors", "epoch_start.safetensors"


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: where they are kept, with the adapters of the epochs that have ended.
        latest: the checkpoint that the training goes on from, for a process that didn't look for it.
        writes: whether this process writes them.
    """

    def __init__(self, folder: Path, latest: str | None = None, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self._begun = self._last = time.monotonic()
        self._took = self._spent = 0.0
        self._start: dict[str, Any] = {}
        self._resumed = None if latest is None else Path(latest)

    def due(self) -> bool:
        """Whether it is time for one."""
        return self.writes and time.monotonic() - self._last >= max(EVERY, self._took / SHARE)

    def latest(self) -> str | None:
        """The last whole checkpoint whose epochs' adapters are whole too; None where there is none."""
        (self.folder / SPENT).unlink(missing_ok=True)
        checkpoints = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        for path in reversed(checkpoints):
            record = _record(path)
            if record is not None and all(_record(self.folder / name) for name in record["epochs"]):
                self._resumed, self._spent = path, record["seconds"]
                write_sealed(self.folder / SPENT, {"seconds": self._spent})
                return str(path)
        return None

    def begin_epoch(self) -> None:
        """Keeps the random state that decides the epoch's order, or puts it back where the epoch is resumed."""
        import torch
        from safetensors.torch import load_file

        if self._resumed is not None:
            torch.set_rng_state(load_file(self._resumed / EPOCH_START)["cpu"])
            self._resumed = None
        processes.share_random_state()
        self._start = {"cpu": torch.get_rng_state()}

    def save(self, trainer: Any) -> None:
        """Writes a checkpoint beside its place, moves it there, and removes the older ones."""
        from safetensors.torch import save_file

        begun = time.monotonic()
        place = self.folder / f"checkpoint-{trainer.state.global_step}"
        beside = self.folder / ".checkpoint"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        save_file(_trained(trainer.model), beside / WEIGHTS)
        save_file(self._start, beside / EPOCH_START)
        trainer._save_optimizer_and_scheduler(str(beside))
        trainer._save_scaler(str(beside))
        trainer._save_rng_state(str(beside))
        # One name with one process, another with several: either may go on from it.
        states = [beside / "rng_state.pth", beside / "rng_state_0.pth"]
        (written,) = (path for path in states if path.exists())
        for path in states:
            if path != written:
                shutil.copyfile(written, path)
        trainer.state.save_to_json(str(beside / "trainer_state.json"))
        epochs = sorted(path.name for path in self.folder.glob("epoch-*"))
        seal(beside, epochs=epochs, seconds=self._spent + begun - self._begun)
        older = list(self.folder.glob("checkpoint-*"))
        beside.rename(place)
        for path in older:
            shutil.rmtree(path)
        self._last = time.monotonic()
        self._took = self._last - begun


class Resumable:
    """Makes a trainer of transformers' keep `checkpoints`, in place of its own, which a kill can leave half written."""

    checkpoints: Checkpoints | None = None

    def get_train_dataloader(self) -> Any:
        """Gives every process all batches, in one order, of which each reads its part: `share`."""
        from accelerate.data_loader import prepare_data_loader

        if processes.count() == 1:
            return super().get_train_dataloader()  # type: ignore[misc]
        accelerator: Any = self.accelerator  # type: ignore[attr-defined]
        accelerator.prepare = lambda loader: prepare_data_loader(
            loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        try:
            return super().get_train_dataloader()  # type: ignore[misc]
        finally:
            del accelerator.prepare

    def _send_telemetry(self) -> None:
        """Reports nothing to anybody: a fit works offline and stays private."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Counts no operations, for which each step would go through all parameters."""
        return 0

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """Leaves a model alone whose weights are elsewhere until they are needed."""
        if not is_offloaded(model):
            super()._move_model_to_device(model, device)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save(self)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        import torch
        from safetensors.torch import load_file

        kept = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        with torch.no_grad():
            for name, parameter in _trained(self.model).items():  # type: ignore[attr-defined]
                parameter.copy_(kept[name])


def _trained(model: Any) -> dict[str, Any]:
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def unsealed(folder: Path) -> Path:
    """The folder without its checksums."""
    (folder / MANIFEST).unlink()
    return folder


def _record(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None where the folder is not whole."""
    if folder_fault(folder) is not None:
        return None
    record: dict[str, Any] = read_sealed(folder / MANIFEST, "checkpoint")
    return record
