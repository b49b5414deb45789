"""Is this machine fit for a run?"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from comparisons.experiment.fitting import package_version
from comparisons.machine.memory import total_memory
from comparisons.util.errors import CompareError

NEEDED = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "safetensors", "rich", "matplotlib")


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

    try:
        names = Library.open(None).names
    except CompareError as error:
        return Check("embedded data", False, str(error))
    return Check("embedded data", bool(names), f"{len(names)} behaviors")


def _embedded_model() -> Check:
    from comparisons.model.loading import check_intact
    from comparisons.model.source import ModelSource

    try:
        location = ModelSource().location()
        check_intact(Path(location))
        return Check("embedded model", True, location)
    except CompareError as error:
        return Check("embedded model", False, str(error))
