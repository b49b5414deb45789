"""Errors that users see, and the nearest known name for a mistyped one."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class CompareError(Exception):
    """A mistake the user can mend. Its message is one line: the thing and the mend."""


class StorageError(CompareError):
    """The disk refuses: what is done is kept, and the run ends here, with exit code 1."""


_REFUSALS = tuple(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "ESTALE") if hasattr(errno, name)
)
# What Rust (safetensors), C++ (torch) and shutil's lists of errors make of a refused write.
_WRAPPED = {
    **{f"os error {number})": number for number in _REFUSALS},
    **{f"[Errno {number}]": number for number in _REFUSALS},
    "PytorchStreamWriter failed": errno.ENOSPC,
}


def storage_fault(error: BaseException) -> StorageError | None:
    """The refusal of the disk behind an error, also where a library has wrapped it; None where there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _REFUSALS:
            return StorageError(f"a file can't be written: {refusal(cause)}")
        for text, number in _WRAPPED.items():
            if text in str(cause):
                return StorageError(f"a file can't be written: {refusal(OSError(number, os.strerror(number)))}")
        cause = cause.__cause__ or cause.__context__
    return None


def refusal(error: OSError) -> str:
    """What the disk said, of which file, and the mend; the words after "can't be written: "."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOENT:
        return f"its folder was removed under the command{where}; the same command begins it again."
    return f"{error.strerror or error}{where}; make room or mend it, and the same command goes on."


LONGEST = 80
"""Characters of an unknown name that a message shows."""

MOST_LISTED = 2000
"""Characters of known names that a message lists; of more it gives the number, as the line would fill the terminal."""


def unknown(kind: str, name: str, known: Iterable[str]) -> CompareError:
    """An error that names an unknown thing, its nearest known names and all the known ones, unless they are too many.

    Args:
        kind: what it is, in the singular ("behavior", "method", "setting of caa").
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    shown = " ".join(name.split())
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    listed = ", ".join(names) or "none"
    listed = listed if len(listed) <= MOST_LISTED else f"{len(names):,} names"
    return CompareError(f"unknown {kind} '{shown}'.{hint} Known: {listed}.")


def described(error: Exception) -> str:
    """An error as one line, for the row of what failed; one that is no mistake of the user's with its kind.

    Raises:
        StorageError: the disk refused. That is no failure of one cell: it would spoil every later one too.
    """
    refused = storage_fault(error)
    if refused is not None:
        raise refused from error
    text = " ".join(str(error).split())
    return text if isinstance(error, CompareError) else f"{type(error).__name__}: {text}"
