"""Signs of a behavior in natural language: wordings that show it or its opposite, as behavior.json declares them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from comparisons.dataset.fields import check_text, describe
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError, unknown

HIGHEST = 10.0
"""The highest score of a free answer."""

_FIELDS = (*DIRECTIONS, "plain")
_PLAIN = ("score", "weight")


@dataclass(frozen=True)
class Signs:
    """Wordings by which a free answer shows a behavior or its opposite.

    Attributes:
        sides: direction -> regular expressions; they match whole words, whatever their case.
        plain: the score, 0 to 10, of wording without signs; None where that shows nothing.
        weight: how many signs 100 words of such wording count as; with 0 `plain` is for an answer without any sign.
    """

    sides: Mapping[str, tuple[str, ...]]
    plain: float | None = None
    weight: float = 0.0

    def pattern(self, side: str) -> re.Pattern[str]:
        """One expression for all signs of a side; the earlier ones win where two begin at one place."""
        return re.compile(rf"(?<!\w)(?:{'|'.join(self.sides[side])})(?!\w)", re.IGNORECASE)


def read_signs(value: object, where: str) -> Signs:
    """Signs from what a file says.

    Args:
        value: {"pos": [expression, …], "neg": [expression, …]} and perhaps "plain": {"score": 0, "weight": 2}.
        where: begins each message.

    Raises:
        CompareError: names the field and, of an expression that is none, the expression.
    """
    if not isinstance(value, dict):
        raise CompareError(f"{where} must be an object, not {describe(value)}.")
    for key in value:
        if key not in _FIELDS:
            raise CompareError(f"{where}: {unknown('field', key, _FIELDS)}")
    sides: dict[str, tuple[str, ...]] = {
        side: _expressions(value.get(side), f"{where}, '{side}'") for side in DIRECTIONS
    }
    plain = value.get("plain")
    if plain is None:
        return Signs(sides)
    if not isinstance(plain, dict) or "score" not in plain or not set(plain) <= set(_PLAIN):
        raise CompareError(f"{where}, 'plain' must be an object with the field score and perhaps weight.")
    score = _number(plain["score"], HIGHEST, f"{where}, 'plain', 'score'")
    return Signs(sides, score, _number(plain.get("weight", 0), math.inf, f"{where}, 'plain', 'weight'"))


def _expressions(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise CompareError(f"{where} must be a list of at least one expression, not {describe(value)}.")
    for each in value:
        text = check_text(each, where)
        try:
            found = re.compile(text).match("")
        except re.error as error:
            raise CompareError(f"{where}: {describe(text)} is no regular expression: {error}.") from error
        if found:
            raise CompareError(f"{where}: {describe(text)} matches where nothing stands.")
    return tuple(value)


def _number(value: object, most: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most or value == math.inf:
        end = "at least 0" if most == math.inf else f"from 0 to {most:g}"
        raise CompareError(f"{where} must be a number {end}, not {describe(value)}.")
    return float(value)
