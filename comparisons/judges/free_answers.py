"""What is said about free answers: how they are drawn, who judges them, and what that may cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.util.errors import CompareError

TOKENS = 60
"""New tokens of a free answer, at most."""


@dataclass(frozen=True)
class OpenEnded:
    """How free answers are drawn and judged.

    Attributes:
        judges: names, as "rules" or "openai:MODEL".
        tokens: of an answer, at most.
        url: of the judges' server, where it isn't OpenAI's.
        price: dollars a million tokens of prompt and of reply; None where nobody has said it.
        budget: dollars after which judges are asked no more.
    """

    judges: tuple[str, ...] = ("rules",)
    tokens: int = TOKENS
    url: str | None = None
    price: tuple[float, float] | None = None
    budget: float | None = None

    @classmethod
    def read(
        cls,
        judges: Sequence[str] = (),
        tokens: int | None = None,
        url: str | None = None,
        price: tuple[float, float] | None = None,
        budget: float | None = None,
    ) -> OpenEnded:
        """What was said, the rest at its defaults; checked.

        Raises:
            CompareError: a judge is named twice, or an amount of money isn't one.
        """
        twice = next((judge for judge in judges if judges.count(judge) > 1), None)
        if twice is not None:
            raise CompareError(f"the judge '{twice}' is named twice: name it once.")
        if budget is not None and not (math.isfinite(budget) and budget > 0):
            raise CompareError(f"--judge-budget must be a number of dollars above 0, not {budget:g}.")
        if url is not None and not url.startswith(("http://", "https://")):
            raise CompareError(f"--judge-url takes an address such as http://127.0.0.1:8000/v1, not '{url}'.")
        if price is not None and not all(0 <= each < math.inf for each in price):
            raise CompareError(f"--judge-price takes two prices such as 0.15/0.60, not '{price[0]:g}/{price[1]:g}'.")
        options = cls(url=url, price=price, budget=budget)
        options = replace(options, judges=tuple(judges)) if judges else options
        return options if tokens is None else replace(options, tokens=tokens)

    @classmethod
    def asked(
        cls,
        wanted: bool | None,
        judges: Sequence[str] = (),
        tokens: int | None = None,
        url: str | None = None,
        price: tuple[float, float] | None = None,
        budget: float | None = None,
    ) -> OpenEnded | None:
        """As `read`; None where free answers are neither wanted nor spoken of.

        Raises:
            CompareError: also where they are spoken of though `wanted` is False.
        """
        spoken = {"--judge": tuple(judges), "--judge-url": url, "--judge-price": price, "--tokens": tokens}
        given = next((option for option, value in spoken.items() if value not in (None, ())), None)
        if wanted is False and given:
            raise CompareError(f"{given} is about free answers, which --no-open-ended leaves out: take one of the two.")
        if not (wanted or given or budget is not None):
            return None
        return cls.read(judges, tokens, url, price, budget)

    def as_json(self) -> dict[str, Any]:
        """What can change the answers and their scores; money doesn't."""
        return {"judges": list(self.judges), "tokens": self.tokens, "url": self.url}
