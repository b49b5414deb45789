"""Compare ways to change a language model's behavior by one interface and one evaluator."""

from __future__ import annotations

__version__ = "0.1.0"

from comparisons.api import run
from comparisons.errors import CompareError
from comparisons.runs.result import Result

__all__ = ["CompareError", "Result", "__version__", "run"]
