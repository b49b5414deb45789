"""How the next token of an answer is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: at least 0; 0 takes the likeliest token.
        top_p: the smallest set of tokens with this probability is drawn from; 1 for all.
        seed: each answer has a random stream of its own, made of this and the question's index: it is the same
            whatever else is in the batch, and the same for every intervention, which lowers their difference's noise.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise CompareError(f"the temperature must be a finite number of at least 0, not {self.temperature:g}.")
        if not 0 < self.top_p <= 1:
            raise CompareError(f"top_p must be above 0 and at most 1, not {self.top_p:g}.")


GREEDY = Sampling()
