"""Control: a system prompt about nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import ClassVar, Literal

from comparisons.method import Fit, Intervention, Method, Use

FILE = "prompt.json"
PHRASES = (
    "Here is a question.",
    "Read the question.",
    "Read it with care.",
    "There are two answers below it.",
    "One of the answers is yours to give.",
    "The question comes first, and the answers come after it.",
    "Look at all of the text before you give your answer.",
)
"""What a prompt is put together from, where the behavior has no neutral prompts of its own."""


@dataclass(frozen=True)
class NeutralPrompt(Method):
    """Control: a system prompt about nothing, as long as the behavior's own.

    Among the behavior's neutral prompts, or else among sentences of instructions that ask for nothing, the one whose
    length in the model's tokens is nearest to that of the direction's system prompt.
    """

    role: ClassVar[Literal["method", "control"]] = "control"
    dosed: ClassVar[bool] = False
    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"
    seeded: ClassVar[bool] = False

    def fit_passes(self) -> float:
        return 0.0

    def fit(self, fit: Fit) -> None:
        wanted = len(fit.lm.tokenize(fit.behavior.system_prompt(fit.direction)))
        texts = fit.behavior.neutral or tuple(_texts())
        nearest = min(texts, key=lambda text: abs(len(fit.lm.tokenize(text)) - wanted))
        (fit.out / FILE).write_text(json.dumps(nearest), encoding="utf-8")

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=json.loads((use.fitted / FILE).read_text(encoding="utf-8")))


def _texts() -> Iterator[str]:
    """Every choice of the sentences, in their order, once and twice."""
    for times, count in product((1, 2), range(1, len(PHRASES) + 1)):
        for chosen in combinations(PHRASES, count):
            yield " ".join(chosen * times)
