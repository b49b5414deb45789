"""Running out of memory: the token budget is halved for good, and what was being run begins again."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from comparisons.model.lm import LM
from comparisons.util.memory import available_memory

log = logging.getLogger(__name__)

LEAST_BUDGET = 64
"""Tokens: where even this many don't fit, halving won't help."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""

_USUAL = 1 << 25
"""Bytes from which glibc maps a block for itself, at the most that it raises them to by itself."""

_MOST = 1 << 30
"""Bytes that few tensors of a pass have; those take far longer to fill than to map."""

PLENTY = 16
"""Times its weights in float32 that a training takes at the very most, whatever the C library keeps."""


@contextmanager
def halving(lm: LM) -> Iterator[None]:
    """Swallows an out-of-memory error and halves the model's token budget; the caller tries again.

    On a CPU the C library keeps meanwhile what is freed, which is asked for again by the next block: mapping each
    tensor above 32 MiB anew took an eighth of the time of answers by texts, in page faults, and saved no memory.

    Raises:
        RuntimeError, MemoryError: anything else, and that one where the budget is small already.
    """
    try:
        with _mapping(_MOST) if lm.device.type == "cpu" else nullcontext():
            yield
        return
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or lm.token_budget <= LEAST_BUDGET:
            raise
    lm.token_budget //= 2
    log.warning("out of memory: going on with batches of %d tokens.", lm.token_budget)
    gc.collect()
    if lm.device.type == "cuda":
        torch.cuda.empty_cache()


def returning() -> AbstractContextManager[None]:
    """Lets the C library give large blocks back to the system as they are freed, while the context lasts.

    glibc raises by itself the size from which it does, up to 32 MiB. A training step's tensors then lie in its heap,
    where those that live until the backward pass leave holes between them. Within, each tensor above 64 KiB is mapped
    and unmapped instead. That takes less memory and more time: SmolLM2-135M's training 3.2 GiB for 4.6, and 64 seconds
    on the CPU for 49, of page faults. So a training has it only where memory may be short (`may_be_short`).
    """
    return _mapping(1 << 16)


@contextmanager
def _mapping(size: int) -> Iterator[None]:
    """Has glibc map blocks from so many bytes on, and keep as much of its heap, while the context lasts."""
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if allocator is None:
        yield
        return
    _set(allocator, size)
    try:
        yield
    finally:
        _set(allocator, _USUAL)


def _set(allocator: Callable[[int, int], int], size: int) -> None:
    allocator(_MMAP_THRESHOLD, size)
    allocator(_TRIM_THRESHOLD, max(size, 2 * _USUAL))


def may_be_short(lm: LM) -> bool:
    """Whether a training might not fit the main memory that is free, if the C library kept what it frees."""
    free = available_memory()
    return free is None or free < PLENTY * 4 * lm.parameters


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    text = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in text
        or "out of memory" in text
    )
