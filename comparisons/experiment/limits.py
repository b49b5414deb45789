"""What a change may cost, and the value at which methods are matched, as typed by `--select` and `--match`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from comparisons.results.costs import QUANTITIES
from comparisons.util.errors import CompareError

Limits = Mapping[str, float]
"""Quantity -> what its upper bound may be."""


@dataclass(frozen=True)
class Match:
    """The value that methods are compared at.

    Attributes:
        quantity: one of `QUANTITIES`.
        value: above 0.
    """

    quantity: str
    value: float

    def __str__(self) -> str:
        return f"{self.quantity}={self.value:g}"


def parse_limits(text: str) -> Limits:
    """Reads "cost<=0.05" or "cost<=0.05,kl<=0.1".

    Raises:
        CompareError: it is something else, no finite number of at least 0, or limits a quantity twice.
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        quantity, value = _parsed(part, "<=")
        if quantity is None or value < 0 or quantity in limits:
            raise CompareError(
                f'--select takes a limit such as "cost<=0.05" or "kl<=0.1", or one of each ({", ".join(QUANTITIES)}), '
                f"not '{text}'."
            )
        limits[quantity] = value
    return limits


def parse_match(text: str) -> Match:
    """Reads "kl=0.1".

    Raises:
        CompareError: it is something else, or no finite number above 0.
    """
    quantity, value = _parsed(text, "=")
    if quantity is None or value <= 0:
        raise CompareError(f"--match takes a value such as kl=0.1, of {' or '.join(QUANTITIES)}, not '{text}'.")
    return Match(quantity, value)


def _parsed(text: str, sign: str) -> tuple[str | None, float]:
    """The quantity, None where it is none, and its finite value."""
    found = re.fullmatch(rf"\s*(\w+)\s*{sign}\s*(\S+)\s*", text)
    try:
        value = float(found[2]) if found else math.nan
    except ValueError:
        value = math.nan
    return (found[1] if found and found[1] in QUANTITIES and math.isfinite(value) else None), value
