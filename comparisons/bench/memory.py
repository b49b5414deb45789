"""Peak memory of a piece of work, where the system can tell."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Filled when its context ends; None where the system can't tell.

    Attributes:
        above: bytes at the highest point above those in use at the start.
        whole: bytes at the highest point, of this process; on GPUs with what the system holds there beside tensors.
    """

    above: int | None = None
    whole: int | None = None


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Watches a kind of device: CUDA's allocators, or on Linux the resident memory of this process."""
    peak = Peak()
    if device == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # its counters can't be set back before
        before = _on_gpus(torch.cuda.memory_allocated)
        _on_gpus(torch.cuda.reset_peak_memory_stats)
        yield peak
        most = _on_gpus(torch.cuda.max_memory_allocated)
        peak.above, peak.whole = most - before, most + _on_gpus(_beside_tensors)
        return
    watched = sys.platform == "linux" and device == "cpu" and _reset_high_water()
    start = _resident("VmRSS") if watched else None
    yield peak
    end = _resident("VmHWM") if watched else None
    if start is not None and end is not None:
        peak.above, peak.whole = max(0, end - start), end


def _on_gpus(what: Callable[[int], int | None]) -> int:
    """The sum over all GPUs."""
    return sum(what(index) or 0 for index in range(torch.cuda.device_count()))


def _beside_tensors(index: int) -> int:
    """Bytes of a GPU that are in use and not torch's to give: the context, and what other processes have there."""
    free, total = torch.cuda.mem_get_info(index)
    return total - free - torch.cuda.memory_reserved(index)


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
        match = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
