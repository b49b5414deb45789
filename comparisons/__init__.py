"""Compare ways to change a language model's behavior by one interface and one evaluator."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from comparisons.util import __version__
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.api.run import Result, run

__all__ = ["CompareError", "Result", "__version__", "run"]

if "OMP_WAIT_POLICY" not in os.environ:
    # Before torch is loaded: its threads wait for each other in a loop, by libgomp's default for so long that on a
    # machine with other work each product takes several times its time.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    """`run` and `Result`, loaded when they are asked for: the command line starts without them."""
    if name not in ("Result", "run"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("comparisons.api.run"), name)
