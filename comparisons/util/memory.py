"""How much memory this machine has, and how much was used."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path


def available_memory() -> int | None:
    """Bytes of main memory that can be had without swapping; all of it where the system tells no more."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else total_memory()


def total_memory() -> int | None:
    """Bytes of main memory; None where the system can't tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def most_used(on_gpu: bool) -> int:
    """The most memory used so far, in bytes: of the GPU, or of the process."""
    if on_gpu:
        import torch

        return int(torch.cuda.max_memory_allocated())
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
