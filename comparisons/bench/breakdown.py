"""Where the engine's time goes: its operators' own times, in four kinds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comparisons.bench.contenders import run_engine

if TYPE_CHECKING:
    from comparisons.bench.works import Work
    from comparisons.model.lm import LM

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear", "matmul", "_addmm_activation", "mkldnn_linear"),
    "moving data": ("copy_", "cat", "clone", "index", "index_put_", "_index_put_impl_", "index_select", "gather",
                    "contiguous", "repeat_interleave", "embedding", "fill_", "zero_"),
}  # fmt: skip
ATTENTION, REST, OUTSIDE = "attention", "norms, activations and other operators", "outside operators"


def breakdown(lm: LM, work: Work) -> dict[str, float]:
    """Shares of the engine's time on a work by kind of operator, from torch's profiler; they add up to 1.

    "outside operators" is Python: the libraries' and the engine's own, tokenizing included, and the profiler's.
    """
    from torch.profiler import ProfilerActivity, profile

    cuda = lm.device.type == "cuda"
    run_engine(lm, work)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as found:
        start = time.perf_counter()
        run_engine(lm, work)
        wall = (time.perf_counter() - start) * 1e6
    seconds = dict.fromkeys((*KINDS, ATTENTION, REST), 0.0)
    for event in found.key_averages():
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        seconds[_kind(event.key)] += own
    seconds[OUTSIDE] = max(0.0, wall - sum(seconds.values()))
    total = sum(seconds.values())
    return {kind: own / total for kind, own in seconds.items()}


def _kind(operator: str) -> str:
    name = operator.removeprefix("aten::")
    if "attention" in name:
        return ATTENTION
    return next((kind for kind, names in KINDS.items() if name in names), REST)
