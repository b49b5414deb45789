"""Activation addition from one pair of prompts (Turner et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from comparisons.method import (
    LM,
    CompareError,
    Edit,
    Fit,
    Intervention,
    LayerVector,
    Use,
    block_outputs,
    read_vector,
    use_only,
    write_vectors,
)


@dataclass(frozen=True)
class ActAdd(LayerVector):
    """Add the activation differences of one pair of prompts at the start of every prompt, position by position.

    Source: Turner et al. 2023 (Activation Addition), algorithm 1: h_l(plus) − h_l(minus), the shorter prompt padded
    with blanks, times a coefficient, added to the first tokens of the prompt. Here at the output of block l. No
    training pair is read.

    Attributes:
        layer: 0-based block; "auto" is chosen on dev.
        plus: the prompt to go towards; "" takes the behavior's system prompt for it.
        minus: the prompt to go away from; "" takes the behavior's system prompt against it.
        coefficient: factor on the difference at strength 1.
    """

    plus: str = ""
    minus: str = ""
    coefficient: float = use_only(1.0)

    seeded: ClassVar[bool] = False

    def fit_passes(self) -> float:
        return 0.0

    def fit(self, fit: Fit) -> None:
        texts = [self.plus or fit.behavior.system_prompt("pos"), self.minus or fit.behavior.system_prompt("neg")]
        plus, minus = padded(fit.lm, texts)
        if plus == minus:
            raise CompareError("actadd.plus and actadd.minus are the same prompt: give two that differ.")
        write_vectors(fit.out, block_outputs(fit.lm, plus) - block_outputs(fit.lm, minus))

    def intervene(self, use: Use) -> Intervention:
        layer = self.chosen_layer()
        vector = self.coefficient * read_vector(use.fitted, layer)
        edit = Edit(layer, vector, multiplier=use.signed, positions=f"prompt_first:{len(vector)}")
        return Intervention(edits=(edit,))


def padded(lm: LM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, with the tokenizer's own beginning, the shorter ones lengthened by blanks."""
    rows = [lm.prompts.tokenize_text(text) for text in texts]
    blank = lm.tokenizer(" ", add_special_tokens=False)["input_ids"][-1:] or [rows[0][-1]]
    longest = max(map(len, rows))
    return [ids + blank * (longest - len(ids)) for ids in rows]
