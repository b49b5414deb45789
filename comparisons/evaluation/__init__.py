"""Measuring: all that an evaluation needs, and what goes through a run's evaluations.

An evaluation is a frozen dataclass whose fields are its settings. What stands here may be imported by anybody's and
stays; it is loaded when it is used, since most of it brings torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparisons.engine.completions import completion_logps
    from comparisons.evaluation.cells import choice_results
    from comparisons.evaluation.conformance import check_evaluation, examine_evaluation
    from comparisons.evaluation.interface import (
        Asking,
        CellResult,
        CellToAsk,
        Evaluation,
        MeasuredCell,
        result_row,
        section_of,
    )
    from comparisons.evaluation.measures import clusters, interval
    from comparisons.evaluation.tally import Tally
    from comparisons.experiment.plan import Plan
    from comparisons.experiment.specification import Cell
    from comparisons.results.summary import SummaryRow
    from comparisons.util.errors import CompareError
    from comparisons.util.table import Section

__all__ = [
    "Asking",
    "Cell",
    "CellResult",
    "CellToAsk",
    "CompareError",
    "Evaluation",
    "MeasuredCell",
    "Plan",
    "Section",
    "SummaryRow",
    "Tally",
    "check_evaluation",
    "choice_results",
    "clusters",
    "completion_logps",
    "examine_evaluation",
    "interval",
    "result_row",
    "section_of",
]

_MODULES = {
    "choice_results": "cells",
    "check_evaluation": "conformance",
    "examine_evaluation": "conformance",
    "clusters": "measures",
    "interval": "measures",
    "Tally": "tally",
    "completion_logps": "comparisons.engine.completions",
    "CompareError": "comparisons.util.errors",
    "Section": "comparisons.util.table",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module = _MODULES.get(name, "interface")
    return getattr(import_module(module if "." in module else f"{__name__}.{module}"), name)
