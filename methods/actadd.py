"""Activation addition from one pair of prompts (Turner et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparisons.method import Edit, Fit, Intervention, Use, use_only
from comparisons.util.errors import CompareError
from methods._vectors import LayerVector, chosen_layer, read_vector, write_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from comparisons.model.lm import LM


@dataclass(frozen=True)
class ActAdd(LayerVector):
    """Add the activation differences of one pair of prompts at the start of every prompt, position by position.

    Source: Turner et al. 2023 (Activation Addition), algorithm 1: h_l(plus) − h_l(minus), the shorter prompt padded
    with blanks, times a coefficient, added to the first tokens of the prompt. Here at the output of block l. No
    training pair is read.

    Attributes:
        layer: 0-based block; "auto" takes the one with the largest two-sided shift on dev.
        plus: the prompt to go towards; "" takes the behavior's system prompt for it.
        minus: the prompt to go away from; "" takes the behavior's system prompt against it.
        coefficient: factor on the difference at strength 1.
    """

    plus: str = ""
    minus: str = ""
    coefficient: float = use_only(1.0)

    def fit_passes(self) -> float:
        return 0.0

    def fit(self, fit: Fit) -> None:
        texts = [self.plus or fit.behavior.system_prompt("pos"), self.minus or fit.behavior.system_prompt("neg")]
        plus, minus = padded(fit.lm, texts)
        if plus == minus:
            raise CompareError("actadd.plus and actadd.minus are the same prompt: give two that differ.")
        write_vectors(fit.out, block_outputs(fit.lm, plus) - block_outputs(fit.lm, minus))

    def intervene(self, use: Use) -> Intervention:
        layer = chosen_layer(self.layer, type(self).__module__)
        vector = self.coefficient * read_vector(use.fitted, layer)
        return Intervention(
            edits=(Edit(layer, vector, multiplier=use.signed, positions=f"prompt_first:{len(vector)}"),)
        )


def padded(lm: LM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, with the tokenizer's own beginning, the shorter ones lengthened by blanks."""
    found = [list(lm.tokenizer(text)["input_ids"]) for text in texts]
    blank = lm.tokenizer(" ", add_special_tokens=False)["input_ids"][-1:] or [found[0][-1]]
    longest = max(map(len, found))
    return [ids + blank * (longest - len(ids)) for ids in found]


def block_outputs(lm: LM, ids: Sequence[int]) -> torch.Tensor:
    """The output of every block at every token of one text, [layers, tokens, width] float32 on the CPU."""
    import torch

    from comparisons.engine.hooks import captured

    layers = range(len(lm.blocks))
    tokens = torch.tensor([ids], device=lm.device)
    with torch.no_grad(), captured(lm, layers, lambda hidden, layer: hidden) as outputs:
        lm.model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)
    return torch.stack([outputs[layer][0].float().cpu() for layer in layers])
