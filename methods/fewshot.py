"""Few-shot prompting (Brown et al. 2020)."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar, Literal

from comparisons.method import CompareError, Fit, Intervention, Item, Method, Turn, Use

FILE = "examples.json"


@dataclass(frozen=True)
class FewShot(Method):
    """Show a few training questions, answered as the direction wants, as turns before the question.

    Source: Brown et al. 2020, section 2. The pairs are drawn by the seed, with the letters taking turns, so that the
    examples show the behavior and not a letter; they are answered by what the run measures, letters or the choices'
    texts. A prompt has no dose.

    Attributes:
        examples: how many.
    """

    examples: int = 4

    dosed: ClassVar[bool] = False
    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"

    def fit_passes(self) -> float:
        return 0.0

    def fit(self, fit: Fit) -> None:
        items = fit.behavior.train
        if not 1 <= self.examples <= len(items):
            raise CompareError(f"fewshot.examples={self.examples} is out of range: use 1 to {len(items)}.")
        # Both directions draw the same questions.
        order = random.Random(fit.seed).sample(items, len(items))
        letters = sorted({item.matching for item in order})
        groups = [[item for item in order if item.matching == letter] for letter in letters]
        taken = [item for item in chain.from_iterable(zip_longest(*groups)) if item is not None][: self.examples]
        turns = [_turn(item, 0 if fit.direction == "pos" else 1, fit.measure) for item in taken]
        (fit.out / FILE).write_text(json.dumps(turns), encoding="utf-8")

    def intervene(self, use: Use) -> Intervention:
        turns = json.loads((use.fitted / FILE).read_text(encoding="utf-8"))
        return Intervention(examples=tuple(Turn(question, answer) for question, answer in turns))


def _turn(item: Item, wanted: int, measure: str) -> tuple[str, str]:
    if measure == "letters":
        return item.question, f"({(item.matching, item.contrast)[wanted]})"
    if not item.texts:
        raise CompareError(f"fewshot: the pair {item.id} has no texts to show as answers: see --measure.")
    return item.stem, item.texts[wanted]
