"""Running out of memory: the token budget is halved for good, and what was being run begins again."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from comparisons.model.lm import LM

log = logging.getLogger(__name__)

LEAST_BUDGET = 64
"""Tokens: where even this many don't fit, halving won't help."""

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""


@contextmanager
def halving(lm: LM) -> Iterator[None]:
    """Swallows an out-of-memory error and halves the model's token budget; the caller tries again.

    Raises:
        RuntimeError, MemoryError: anything else, and that one where the budget is small already.
    """
    try:
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


@contextmanager
def returning() -> Iterator[None]:
    """Lets the C library give large blocks back to the system as they are freed, while the context lasts.

    glibc raises by itself the size from which it does, up to 32 MiB. A training step's tensors then lie in its heap,
    where those that live until the backward pass leave holes between them. Each tensor above 64 KiB is then mapped and
    unmapped, which costs page faults: it is for models whose tensors are large.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if allocator is None:
        yield
        return
    allocator(_MMAP_THRESHOLD, 1 << 16)
    try:
        yield
    finally:
        allocator(_MMAP_THRESHOLD, 1 << 25)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    text = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in text
        or "out of memory" in text
    )
