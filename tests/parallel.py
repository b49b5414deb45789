"""`compare` as one of several processes, which may fail on purpose.

    torchrun … tests/parallel.py {fine|fail|stop} ARGUMENTS…

What torchrun starts has a fork do its work, with its variables, in its folder: no library is loaded again.

"fail": process 1 fails in its first training. "stop": the leader ends before its third step, as a kill would end it.
Every step is followed by a checkpoint.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.forks import FOLDER, Command, Forks

PROGRAM = "import sys\nfrom tests.parallel import start\nstart(sys.argv[1], sys.argv[2:])"
"""What a fork does."""


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
    from comparisons.cli import main
    from comparisons.method import _checkpoints
    from comparisons.model import processes

    _checkpoints.EVERY, _checkpoints.SHARE = 0.0, 1e9
    if mode == "fail" and not processes.leads():
        from comparisons.method import _trainer

        setattr(_trainer, "_run", fail)  # noqa: B010 - it stands for a function of another signature
    if mode == "stop" and processes.leads():
        stop_before(3)
    main(arguments)


def _main() -> None:
    forks = Forks(os.environ[FOLDER])
    (ended,) = forks.run(Command(sys.argv[1:], os.getcwd(), variables=dict(os.environ), program=PROGRAM))
    sys.stdout.write(ended.printed)
    sys.stderr.write(ended.errors)
    sys.exit(ended.code)


if __name__ == "__main__":
    _main()
