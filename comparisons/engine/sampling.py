"""How the next token of an answer is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

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


def penalties(config: Any) -> Any:
    """What a generation configuration asks for against repetition, as transformers applies it; may be empty.

    Returns:
        Called with token ids [rows, tokens], the prompt's before the answer's, and logits [rows, vocabulary], it
        returns logits.
    """
    from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

    found = LogitsProcessorList()
    if (penalty := getattr(config, "repetition_penalty", None)) not in (None, 1):
        found.append(RepetitionPenaltyLogitsProcessor(float(penalty)))
    if size := getattr(config, "no_repeat_ngram_size", None):
        found.append(NoRepeatNGramLogitsProcessor(size))
    return found


def penalized(found: Any, texts: Sequence[Sequence[int]], logits: torch.Tensor) -> torch.Tensor:
    """Logits [rows, vocabulary] behind texts of their own lengths, with `penalties` applied."""
    rows = zip(texts, logits.float(), strict=True)
    return torch.cat([found(torch.tensor([ids], device=row.device), row[None]) for ids, row in rows])
