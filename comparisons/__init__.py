"""Compare ways to change a language model's behavior by one interface and one evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comparisons.util import __version__
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.api.run import Result, run

__all__ = ["CompareError", "Result", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `Result`, loaded when they are asked for: the command line starts without them."""
    if name not in ("Result", "run"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("comparisons.api.run"), name)
