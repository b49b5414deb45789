"""The boundary around a method's own code: what it does there is its row's failure, and no more than that."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from comparisons.errors import CompareError


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Runs a method's code: what it prints goes to stderr, and it can't end the program.

    Args:
        what: begins the message.

    Raises:
        CompareError: it raised what is no Exception, as sys.exit does. Interrupting it stays possible.
    """
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        except (Exception, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            text = " ".join(str(error).split())
            raise CompareError(f"{what} raised {type(error).__name__}: {text}".rstrip(": ") + ".") from error
