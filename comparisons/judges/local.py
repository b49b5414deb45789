"""A judge that is any Hugging Face model: the expected score under its probabilities of the digits, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from comparisons.judges.interface import MOST, AnswerToJudge, Setup, Verdict, choosing, rating, scoring
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.model.lm import LM

DIGITS = tuple("0123456789")
"""One token each in most vocabularies; "10" would begin as "1" does. Their scores are stretched to 0–10."""

SCALE = "Reply with one digit from 0 (not at all) to 9 (as much as can be)."

LEAST_MASS = 0.01
"""Below this probability of any digit the model isn't answering the question: its score would be noise."""


class Local:
    """Reads an expected score off a model's next token (G-Eval, Liu et al. 2023, section 2: scores weighted by
    their probabilities)."""

    reads_rubric = True

    def __init__(self, lm: LM) -> None:
        self.lm = lm

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """All answers in batches, with one prefill each."""
        return self._scores([scoring(each, SCALE) for each in asked])

    def coherence(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """The same of their coherence."""
        return self._scores([rating(each, SCALE) for each in asked])

    def compare(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """10 times the probability of "1" against "2"."""
        prompts = [choosing(each, "Reply with 1 or 2.") for each in asked]
        return [_expected(logps, [MOST, 0.0]) for logps in self._logps(prompts, ("1", "2"))]

    def _scores(self, prompts: Sequence[str]) -> list[Verdict]:
        return [_expected(logps, [MOST * int(d) / 9 for d in DIGITS]) for logps in self._logps(prompts, DIGITS)]

    def _logps(self, prompts: Sequence[str], replies: Sequence[str]) -> list[list[float]]:
        from comparisons.engine.completions import completion_logps
        from comparisons.intervention import Intervention

        logps = completion_logps(self.lm, prompts, [replies] * len(prompts), [Intervention()])[0]
        return [[sum(tokens) for tokens in each] for each in logps]


def _expected(logps: Sequence[float], scores: Sequence[float]) -> Verdict:
    mass = [math.exp(logp) for logp in logps]
    total = sum(mass)
    raw = " ".join(f"{value:.4f}" for value in mass)
    if total < LEAST_MASS:
        return Verdict(None, f"the replies asked for have probability {total:.2g}", raw, "unparsed")
    score = sum(p * s for p, s in zip(mass, scores, strict=True)) / total
    return Verdict(score, f"expected under probability {total:.2f}", raw)


def make(argument: str | None, setup: Setup) -> Local:
    """`local`, the run's own model unchanged, or `local:PATH`."""
    if setup.load is None:
        raise CompareError("the judge 'local' needs a model here: write local:PATH or local:NAME in a run.")
    return Local(setup.load(argument))
