"""`compare` as one of several processes, which may fail on purpose.

    torchrun … tests/parallel.py {fine|fail|stop} ARGUMENTS…

"fail": process 1 fails in its first training. "stop": the leader ends before its third step, as a kill would end it.
Every step is followed by a checkpoint.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from comparisons.cli import main
from comparisons.method import _checkpoints
from comparisons.model import processes


def stop_before(step: int) -> None:
    """Ends this process before a step of the optimizer."""
    import torch

    plain, taken = torch.optim.AdamW.step, 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == step:
            os._exit(9)
        return plain(*args, **kwargs)

    torch.optim.AdamW.step = counted  # type: ignore[method-assign]


def fail(*args: Any) -> None:
    """Stands for whatever fails in one process alone."""
    raise MemoryError("there is no more memory")


def start(mode: str, arguments: list[str]) -> None:
    """Runs `compare`; it never returns."""
    _checkpoints.EVERY, _checkpoints.SHARE = 0.0, 1e9
    if mode == "fail" and not processes.leads():
        from comparisons.method import _trainer

        setattr(_trainer, "_run", fail)  # noqa: B010 - it stands for a function of another signature
    if mode == "stop" and processes.leads():
        stop_before(3)
    main(arguments)


if __name__ == "__main__":
    start(sys.argv[1], sys.argv[2:])
