"""The boundary around a method's own code: what it does there is its row's failure, and no more than that."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comparisons.errors import CompareError

if TYPE_CHECKING:
    from comparisons.lm import LM


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


@contextmanager
def same_tokenizer(lm: LM, name: str) -> Iterator[None]:
    """Raises CompareError where a fit leaves another tokenizer behind, and puts the old one back."""
    from comparisons.specimens import tokenizer_state

    kept, held, before = copy.deepcopy(lm.tokenizer), lm.tokenizer, tokenizer_state(lm.tokenizer)
    try:
        yield
    finally:
        changed = lm.tokenizer is not held or tokenizer_state(lm.tokenizer) != before
        if changed:
            lm.tokenizer = kept
    if changed:
        raise CompareError(f"the fit of {name} changed the tokenizer: it must leave it as it was.")
