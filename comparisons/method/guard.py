"""The boundary around a method's own code: what it does there is its row's failure, and no more than that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from comparisons.util.errors import CompareError
from comparisons.util.terminal import stderr


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Runs a method's code: what it prints goes to stderr, and it can't end the program.

    Args:
        what: begins the message.

    Raises:
        CompareError: it raised what is no Exception, as sys.exit does. Interrupting it stays possible.
    """
    with contextlib.redirect_stdout(stderr()):
        try:
            yield
        except (Exception, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            text = " ".join(str(error).split())
            raise CompareError(f"{what} raised {type(error).__name__}: {text}".rstrip(": ") + ".") from error


@contextmanager
def settings_kept() -> Iterator[None]:
    """Puts torch's default type, gradient mode, threads and random state back when the context closes."""
    import torch

    dtype, grad, threads, random = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state(),
    )
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_rng_state(random)
