"""The plugin interface: a method is a frozen dataclass whose fields are its settings."""

from __future__ import annotations

from comparisons.intervention import Edit, Intervention
from comparisons.method.conformance import check_method, examine_method
from comparisons.method.interface import Fit, Method, Need, Use, use_only
from comparisons.model.prompts import Turn
from comparisons.util.directions import Direction

__all__ = [
    "Direction",
    "Edit",
    "Fit",
    "Intervention",
    "Method",
    "Need",
    "Turn",
    "Use",
    "check_method",
    "examine_method",
    "use_only",
]
