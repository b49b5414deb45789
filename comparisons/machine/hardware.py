"""What memory this machine has."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOM = 0.95
"""Share of a memory that may be filled."""


@dataclass(frozen=True)
class Machine:
    """The memories that a model can be in.

    Attributes:
        ram: bytes that can be had now; None where the system can't tell.
        gpus: bytes of each GPU.
    """

    ram: int | None
    gpus: tuple[int, ...]

    def holds(self, device: str, needed: int) -> bool:
        """Whether so many bytes fit: on a GPU over all of them together, as accelerate spreads a model."""
        room = sum(self.gpus) if device == "cuda" else self.ram or 0
        return needed <= ROOM * room

    def holds_offloaded(self, needed: int) -> bool:
        """Whether so many bytes fit on the GPUs and in main memory together."""
        return bool(self.gpus) and needed <= ROOM * (sum(self.gpus) + (self.ram or 0))


def this_machine() -> Machine:
    """Looks at this machine."""
    return Machine(available_memory(), _gpus())


def available_memory() -> int | None:
    """Bytes of main memory that can be had without swapping; all of it where the system tells no more."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else total_memory()


def total_memory() -> int | None:
    """Bytes of main memory; None where the system can't tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> tuple[int, ...]:
    """Bytes of each GPU that CUDA shows."""
    # Importing torch takes longer than all else: a machine without NVIDIA's tools has no such GPU.
    if sys.platform == "darwin" or shutil.which("nvidia-smi") is None:
        return ()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(int(torch.cuda.get_device_properties(i).total_memory) for i in range(count))
