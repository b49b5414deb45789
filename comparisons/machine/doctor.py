"""Is this machine fit for a run, and for a model: which phases fit as asked, and with which option would they?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from comparisons.machine.memory import PHASES, Device, Footprint, Load, Machine, footprint, this_machine
from comparisons.machine.shape import Shape, read_shape
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from comparisons.util.memory import total_memory
from comparisons.util.plugins import package_version

NEEDED = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "safetensors", "rich", "matplotlib")

WIDTHS = ((None, "bfloat16"), ("8bit", "auto"), ("4bit", "auto"))
"""What else is looked at: the ways to make a model smaller, from mild to strong."""

NOWHERE = "does not fit this machine"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what.
        fit: True or False where a run depends on it, None where it is only told.
        found: what was found.
    """

    name: str
    fit: bool | None
    found: str


def checks() -> list[Check]:
    """Looks at packages, device, memory, disk, and the embedded model and data."""
    versions = {package: package_version(package) for package in NEEDED}
    missing = [package for package, version in versions.items() if version is None]
    python = ".".join(map(str, sys.version_info[:3]))
    rows = [
        Check("python", sys.version_info >= (3, 10), python),
        Check(
            "packages",
            not missing,
            f"missing: {', '.join(missing)}" if missing else ", ".join(f"{p} {v}" for p, v in versions.items()),
        ),
    ]
    if versions["torch"]:
        rows.append(Check("device", None, _device()))
    rows += [
        Check("memory", None, _memory()),
        Check("disk here", None, _disk()),
        _embedded_data(),
        _embedded_model(),
    ]
    rows.append(Check("4-bit and 8-bit", None, f"bitsandbytes {package_version('bitsandbytes') or 'is not installed'}"))
    for key in ("HF_TOKEN", "OPENAI_API_KEY"):
        rows.append(Check(key, None, "set" if os.environ.get(key) else "not set"))
    return rows


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        return f"cuda: {torch.cuda.get_device_name()}, {total / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads"


def _memory() -> str:
    total = total_memory()
    return "unknown" if total is None else f"{total / 2**30:.1f} GiB"


def _disk() -> str:
    return f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free"


def _embedded_data() -> Check:
    from comparisons.dataset.behaviors import Library
    from comparisons.dataset.packaged import PACKAGED

    try:
        found = {data: len(Library.open(data).names) for data in PACKAGED}
    except CompareError as error:
        return Check("embedded data", False, str(error))
    return Check("embedded data", True, ", ".join(f"{data}: {count} behaviors" for data, count in found.items()))


def _embedded_model() -> Check:
    from comparisons.model.loading import check_intact
    from comparisons.model.source import ModelSource

    try:
        location = ModelSource().location()
        check_intact(Path(location))
        return Check("embedded model", True, location)
    except CompareError as error:
        return Check("embedded model", False, str(error))


@dataclass(frozen=True)
class Advice:
    """What a model needs, and what this machine has.

    Attributes:
        model: its name.
        shape: its sizes.
        machine: the memories.
        asked: the footprint as asked.
        others: footprints with other options, from mild to strong.
    """

    model: str
    shape: Shape
    machine: Machine
    asked: Footprint
    others: Sequence[Footprint]

    def fits(self, needed: Footprint) -> dict[str, bool]:
        """Whether each phase fits."""
        return {phase: self.machine.holds(needed.device, peak) for phase, peak in needed.phases().items()}

    def verdicts(self) -> dict[str, str]:
        """For each phase, in words, whether it fits as asked, or with which option it would."""
        return {phase: self._verdict(phase) for phase in PHASES}

    def _verdict(self, phase: str) -> str:
        needed = self.asked.phases().get(phase)
        if needed is None:
            return "not with --quantize: its matrices can't be trained"
        if self.machine.holds(self.asked.device, needed):
            return "fits"
        for other in self.others:
            if self.fits(other).get(phase):
                return f"fits with {_options(other, self.asked)}"
        if self.asked.device == "cuda" and self.asked.quantize is None and not phase.startswith("training"):
            if self.machine.holds_offloaded(needed):
                return "fits with blocks kept in main memory, which is slow"
            if self.machine.gpus:
                return "fits with --offload DIR, blocks on disk, which is very slow"
        return NOWHERE

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        rows = [{**asdict(each), "fits": self.fits(each)} for each in (self.asked, *self.others)]
        return {
            "model": self.model,
            "parameters": self.shape.parameters,
            "checkpoint_dtype": self.shape.dtype,
            "machine": {"memory_bytes": self.machine.ram, "gpu_bytes": list(self.machine.gpus)},
            "footprints": rows,
            "verdicts": self.verdicts(),
        }


def advise(source: ModelSource, load: Load | None = None, machine: Machine | None = None) -> Advice:
    """Estimates a model from its configuration, and compares it with this machine.

    Args:
        source: the model, and how it would be loaded.
        load: what it is to do.
        machine: in place of this one.

    Raises:
        CompareError: there is no such model, or its memory on the device asked for is not known.
    """
    if source.device == "mps":
        raise CompareError("--device mps shares the main memory: ask with --device cpu.")
    shape, machine = read_shape(source), machine or this_machine()
    device: Device = "cuda" if source.device == "cuda" or (source.device == "auto" and machine.gpus) else "cpu"
    asked = footprint(shape, device, source.dtype, source.quantize, load)
    others = [
        footprint(shape, other, dtype if quantize is None else source.dtype, quantize, load)
        for other in (device, *(name for name in get_args(Device) if name != device and name == "cpu"))
        for quantize, dtype in WIDTHS
        if quantize is None or shape.stored is None
    ]
    return Advice(source.name, shape, machine, asked, [other for other in others if other != asked])


def _options(other: Footprint, asked: Footprint) -> str:
    """The options that lead from what was asked to a footprint."""
    parts = [f"--device {other.device}"] if other.device != asked.device else []
    parts += [f"--quantize {other.quantize}"] if other.quantize and other.quantize != asked.quantize else []
    parts += [f"--dtype {other.dtype}"] if other.dtype != asked.dtype else []
    return " ".join(parts) or "no --quantize"
