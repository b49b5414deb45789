"""Compare ways to change a language model's behavior by one interface and one evaluator."""

from __future__ import annotations

from comparisons.api.result import Result
from comparisons.api.run import run
from comparisons.util.errors import CompareError
from comparisons.util.version import __version__

__all__ = ["CompareError", "Result", "__version__", "run"]
