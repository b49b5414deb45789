"""What is said about free answers: how they are drawn, who judges them, and what that may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from comparisons.util.errors import CompareError
from comparisons.util.options import Option, declared, values_of

TOKENS = 60
"""New tokens of a free answer, at most."""

THOUGHT_TOKENS = 1024
"""Of the thought before it, at most."""


def _price(given: str | tuple[float, float], name: str) -> tuple[float, float]:
    """Two prices, or IN/OUT as text."""
    try:
        prompt, reply = (float(part) for part in (given.split("/") if isinstance(given, str) else given))
    except ValueError:
        raise CompareError(f"{name} takes two prices such as 0.15/0.60, not '{given}'.") from None
    return prompt, reply


@dataclass(frozen=True)
class OpenEnded:
    """How free answers are drawn and judged; money changes neither.

    Attributes:
        judges: names, as "rules" or "openai:MODEL".
        tokens: of an answer, at most.
        thought_tokens: of the thought before it, where the model is to think, at most.
        url: of the judges' server, where it isn't OpenAI's.
        price: dollars a million tokens of prompt and of reply; None where nobody has said it.
        budget: dollars after which judges are asked no more.
    """

    judges: Annotated[
        tuple[str, ...],
        Option(
            "rules, local, local:PATH, openai:MODEL, embedding:MODEL, pairwise:JUDGE, … By default rules.",
            name="judge",
            metavar="JUDGE[,JUDGE…]",
            default_in_help=True,
        ),
    ] = ("rules",)
    tokens: Annotated[int, Option("Of a free answer, at most; 60 by default.", default_in_help=True)] = TOKENS
    thought_tokens: Annotated[
        int, Option("Of the thought before it (--thinking on), at most; 1024 by default.", default_in_help=True)
    ] = THOUGHT_TOKENS
    url: Annotated[
        str | None,
        Option(
            "An OpenAI-compatible server, as http://127.0.0.1:8000/v1.",
            name="judge_url",
            metavar="URL",
        ),
    ] = None
    price: Annotated[
        tuple[float, float] | None,
        Option(
            "Dollars a million tokens of prompt and of reply.",
            name="judge_price",
            metavar="IN/OUT",
            read=_price,
            recorded=False,
        ),
    ] = None
    budget: Annotated[
        float | None,
        Option(
            "After which judges are asked no more.",
            name="judge_budget",
            metavar="DOLLARS",
            recorded=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        twice = next((judge for judge in self.judges if self.judges.count(judge) > 1), None)
        if twice is not None:
            raise CompareError(f"the judge '{twice}' is named twice: name it once.")
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget > 0):
            raise CompareError(f"--judge-budget must be a number of dollars above 0, not {self.budget:g}.")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise CompareError(f"--judge-url takes an address such as http://127.0.0.1:8000/v1, not '{self.url}'.")
        if self.price is not None and not all(0 <= each < math.inf for each in self.price):
            prices = "/".join(f"{each:g}" for each in self.price)
            raise CompareError(f"--judge-price takes two prices such as 0.15/0.60, not '{prices}'.")

    @classmethod
    def of(cls, given: Mapping[str, Any], wanted: bool | None = None) -> OpenEnded | None:
        """What options say that have been read; None where free answers are neither wanted nor spoken of.

        Raises:
            CompareError: a value is wrong, or answers are spoken of though `wanted` is False.
        """
        spoken = {name: given[name] for name in declared(cls) if given.get(name) not in (None, ())}
        if wanted is False and spoken:
            flag = declared(cls)[next(iter(spoken))].flag
            raise CompareError(f"{flag} is about free answers, which --no-open-ended leaves out: take one of the two.")
        return cls(**values_of(cls, spoken)) if wanted or spoken else None
