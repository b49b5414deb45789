"""Several processes of one command, as `accelerate launch` and `torchrun` start them: one leads, the others help.

The leader does everything; a helper waits, and takes part in what the leader asks all to do together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn

from comparisons.util.errors import CompareError, described
from comparisons.util.terminal import printable, say

WAIT = timedelta(days=30)
"""How long a helper may wait: the leader evaluates for hours between two trainings."""


GRACE = 10.0
"""Seconds in which a launcher ends the processes that one has left."""


def count() -> int:
    """How many processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def index() -> int:
    """This process's number; the leader is 0."""
    return int(os.environ.get("RANK", "0"))


def local_index() -> int:
    """Its number on this machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leads() -> bool:
    """Whether this process writes and prints."""
    return index() == 0


def together(work: Callable[..., None], *arguments: Any) -> None:
    """Has every process do the same at the same time; where one fails, all end.

    Args:
        work: a function of a module, that each process calls.
        arguments: of it; they are pickled for the others.
    """
    if count() == 1:
        work(*arguments)
        return
    _tell((work, arguments))
    with _ending_all():
        work(*arguments)


def help_out() -> int:
    """A helper's whole life: does what the leader asks for until there is no more; returns the exit code."""
    while (asked := _tell(None)) is not None:
        work, arguments = asked
        with _ending_all():
            work(*arguments)
    return 0


@contextmanager
def led() -> Iterator[None]:
    """Gathers the helpers, and lets them go when the context closes."""
    if count() == 1 or not leads():
        yield
        return
    _group()
    try:
        yield
    finally:
        _tell(None)


def share_random_state() -> None:
    """Gives all processes the leader's random state of torch's, which decides orders."""
    import torch

    if count() > 1:
        torch.set_rng_state(_tell(torch.get_rng_state() if leads() else None))


@cache
def _group() -> Any:
    """The processes, connected through main memory: a helper that waits keeps no GPU busy."""
    import torch
    from accelerate import PartialState

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true") or not torch.cuda.is_available()
    PartialState(cpu=on_cpu)
    return torch.distributed.new_group(backend="gloo", timeout=WAIT)


def _tell(what: Any) -> Any:
    """Sends what the leader says to all; each gets it back."""
    import torch

    messages = [what]
    torch.distributed.broadcast_object_list(messages, src=0, group=_group(), device=torch.device("cpu"))
    return messages[0]


@contextmanager
def _ending_all() -> Iterator[None]:
    """Ends this process where its part fails, at once: the others wait for it, and the launcher ends them then."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _end(error)


def _end(error: BaseException) -> NoReturn:
    if _of_the_others(error):
        # The one that failed says why, and the launcher ends this one.
        try:
            time.sleep(GRACE)
        except KeyboardInterrupt:
            os._exit(1)
    text = described(error) if isinstance(error, Exception) else repr(error)
    line = f"process {index()} of {count()} failed, so all end: {text.rstrip('.')}. The same command resumes."
    say(f"compare: {printable(line)}")
    os._exit(1)


def _of_the_others(error: BaseException) -> bool:
    """Whether an error may come from another process that is gone."""
    import torch

    text = str(error).lower()
    lost = any(word in text for word in ("gloo", "nccl", "connection closed", "connection reset"))
    return lost or isinstance(error, torch.distributed.DistError)


def check_device(kind: str) -> None:
    """Raises CompareError where the processes are connected for another device than the model's."""
    import torch

    if count() > 1 and kind == "cpu" and torch.distributed.get_backend() == "nccl":
        raise CompareError("--device cpu in several processes needs ACCELERATE_USE_CPU=1 in the environment.")
