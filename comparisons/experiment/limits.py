"""What a change may cost, and the value at which methods are matched, as typed by `--select` and `--match`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from comparisons.judges.interface import MOST
from comparisons.results.costs import FALLING, QUANTITIES
from comparisons.util.errors import CompareError

Limits = Mapping[str, float]
"""Quantity -> what its bound may be: the upper one at most, of what falls the lower one at least."""


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
    """Reads "cost<=0.05", or several as "cost<=0.05,kl<=0.1,coherence>=7".

    Raises:
        CompareError: it is something else, a number out of range, or limits a quantity twice.
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        quantity, sign, value = _parsed(part)
        falls = quantity in FALLING
        if quantity is None or sign != (">=" if falls else "<=") or value < 0 or quantity in limits:
            raise CompareError(
                f'--select takes a limit such as "cost<=0.05", "kl<=0.1" or "coherence>=7", or one of each, not '
                f"'{text}'."
            )
        limits[quantity] = value
    return limits


def parse_match(text: str) -> Match:
    """Reads "kl=0.1".

    Raises:
        CompareError: it is something else, or a number out of range.
    """
    quantity, sign, value = _parsed(text)
    if quantity is None or sign != "=" or value <= 0 or (quantity in FALLING and value == MOST):
        raise CompareError(f"--match takes a value such as kl=0.1, of {' or '.join(QUANTITIES)}, not '{text}'.")
    return Match(quantity, value)


def _parsed(text: str) -> tuple[str | None, str, float]:
    """The quantity, None where it is none, the sign, and the finite value; what falls, falls from `MOST`."""
    found = re.fullmatch(r"\s*(\w+)\s*([<>]?=)\s*(\S+)\s*", text)
    try:
        value = float(found[3]) if found else math.nan
    except ValueError:
        value = math.nan
    if not found or found[1] not in QUANTITIES or not math.isfinite(value) or (found[1] in FALLING and value > MOST):
        return None, "", math.nan
    return found[1], found[2], value
