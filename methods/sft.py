"""Supervised finetuning of the answer letter, with LoRA (Hu et al. 2021) or of whole matrices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.method import (
    ADAPTER_FILES,
    LM,
    CompareError,
    Fit,
    Intervention,
    TrainedAdapter,
    Use,
    folder_digest,
    linear_modules,
    local_folder,
    take_adapter,
)

if TYPE_CHECKING:
    from typing_extensions import Self

WHOLE_LEARNING_RATES = (1e-5, 1e-4, 1e-3)
"""What "auto" tries where whole matrices are trained."""


@dataclass(frozen=True)
class SFT(TrainedAdapter):
    """Finetune to give the matching answer, or the other one: a LoRA adapter, or whole matrices.

    The loss is on the token that decides between the letters, or on the answer's own tokens, and nowhere else; pairs
    are read as given. "pos" is trained on the matching answer, "neg" on the contrast. The strength scales the adapter.

    Attributes:
        learning_rate: of AdamW, constant; "auto" takes the lowest of three (of `WHOLE_LEARNING_RATES` for whole
            matrices) that reaches nine tenths of the largest shift on dev, to "pos" where both directions are asked.
        epochs: passes over the pairs.
        epoch: the epoch whose adapter is used; "auto" takes the earliest that does so, two-sided.
        rank: of the LoRA matrices.
        alpha: LoRA's numerator; an adapter of strength 1 is scaled by alpha / rank.
        dropout: of LoRA's input.
        batch_size: pairs a step.
        target_modules: "all-linear", every linear module of the blocks but routers, or ends of names joined by +, as
            q_proj+v_proj. Experts that are one tensor are none: named (experts.down_proj) they are adapted too.
        target: what is trained on: the "letter", the "answer"'s text, or "auto", by what the run measures.
        trainable: "lora"; "full" for every matrix of the blocks, "layer:N" for those of one, for which rank, alpha,
            dropout and target_modules mean nothing. The change is an adapter of full rank, so nothing is written into
            the model. Beside the model, training takes 16 bytes a weight (difference, gradient, Adam's two moments)
            and at most 4 for the identities; each stored epoch takes 4 to 8.
        adapter_from: a PEFT folder, or hub:ORG/NAME, to use in place of a training. It is one adapter, which moves one
            way: use it as sft:pos, or with --directions.
    """

    trainable: str = "lora"
    adapter_from: str | None = None

    def candidates(self, blocks: int) -> Sequence[Self]:
        return super().candidates(blocks) if self.adapter_from is None else ()

    def fit_passes(self) -> float:
        return super().fit_passes() if self.adapter_from is None else 0.0

    def fit_settings(self) -> dict[str, Any]:
        if self.adapter_from is None:
            return super().fit_settings()
        return {"adapter_from": folder_digest(adapter_folder(self.adapter_from))}

    def rates(self) -> Sequence[float]:
        return super().rates() if self.trainable == "lora" else WHOLE_LEARNING_RATES

    def fit(self, fit: Fit) -> None:
        if self.adapter_from is not None:
            take_adapter(fit.lm, adapter_folder(self.adapter_from), fit.out)
            return
        self.train(fit, matrices=() if self.trainable == "lora" else self._matrices(fit.lm))

    def _matrices(self, lm: LM) -> list[str]:
        """The matrices of all blocks, or of one."""
        if lm.quantized:
            raise CompareError(
                f"sft.trainable={self.trainable} is not for a quantized model: leave out --quantize, or use lora."
            )
        match = re.fullmatch(r"full|layer:([0-9]+)", self.trainable)
        if match is None:
            raise CompareError(f"sft.trainable={self.trainable!r} is not valid: use lora, full or layer:N.")
        return linear_modules(lm, range(len(lm.blocks)) if match[1] is None else [int(match[1])])

    def intervene(self, use: Use) -> Intervention:
        if self.adapter_from is None:
            return super().intervene(use)
        return Intervention(adapter=use.fitted, adapter_scale=use.strength)


def adapter_folder(place: str) -> Path:
    """The folder of an adapter, brought from the hub where it is there.

    Raises:
        CompareError: it holds no PEFT adapter in safetensors.
    """
    folder = local_folder(place)
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise CompareError(f"sft.adapter_from={place}: there is no {name} in it, so it is no adapter of PEFT's.")
    return folder
