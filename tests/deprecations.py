"""A deprecation that our own code caused is a failure: the versions after the next one would break what it calls."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OURS = ("comparisons", "methods")
BETWEEN = ("torch", "accelerate", "contextlib", "functools", "warnings", "logging", "tests")
"""What only hands a call on, to be looked through for who made it."""


def caller() -> str | None:
    """The module of ours whose call into a library led to what it is saying now; None where another library's did."""
    frame, library = sys._getframe(1), None
    while frame := frame.f_back:  # type: ignore[assignment]
        name = frame.f_globals.get("__name__", "")
        package = name.partition(".")[0]
        if package in BETWEEN or package == library:
            continue
        if library is None:
            library = package
            continue
        return name if package in OURS else None
    return None


@contextmanager
def own_deprecations() -> Iterator[list[str]]:
    """Gathers the deprecations that calls of ours cause, as warnings or as lines of a library's log."""
    found: list[str] = []
    plain_warn, plain_handle = warnings.warn, logging.Logger.handle

    def note(text: str) -> None:
        if module := caller():
            found.append(f"{module}: {text}")

    def warn(message: Any, category: Any = None, stacklevel: int = 1, *rest: Any, **named: Any) -> None:
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        if issubclass(kind, (DeprecationWarning, FutureWarning, PendingDeprecationWarning)):
            note(str(message))
        plain_warn(message, category, stacklevel + 1, *rest, **named)

    def handle(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and "deprecated" in record.getMessage():
            note(record.getMessage())
        plain_handle(logger, record)

    warnings.warn, logging.Logger.handle = warn, handle  # type: ignore[assignment,method-assign]
    try:
        yield found
    finally:
        warnings.warn, logging.Logger.handle = plain_warn, plain_handle  # type: ignore[method-assign]
