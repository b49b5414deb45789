"""Peak memory of a piece of work, where the system can tell."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparisons.lm import LM

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Filled when its context ends.

    Attributes:
        above: bytes at the highest point above those in use at the start; None where the system can't tell.
    """

    above: int | None = None


@contextmanager
def peak_memory(lm: LM) -> Iterator[Peak]:
    """Watches the memory of the model's device: CUDA's allocator, or on Linux the resident memory of this process."""
    import torch

    peak = Peak()
    if lm.device.type == "cuda":
        before = torch.cuda.memory_allocated(lm.device)
        torch.cuda.reset_peak_memory_stats(lm.device)
        yield peak
        peak.above = torch.cuda.max_memory_allocated(lm.device) - before
        return
    watched = sys.platform == "linux" and lm.device.type == "cpu" and _reset_high_water()
    start = _resident("VmRSS") if watched else None
    yield peak
    end = _resident("VmHWM") if watched else None
    if start is not None and end is not None:
        peak.above = max(0, end - start)


def _reset_high_water() -> bool:
    gc.collect()
    # Freed memory that the allocator keeps would hide what the coming work takes.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        # 5 sets the high-water mark to what is resident now (Linux, proc_pid_clear_refs(5)).
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _resident(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
