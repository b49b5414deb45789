"""Supervised finetuning of the answer letter, with LoRA (Hu et al. 2021) or of whole matrices."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.method import Fit, Intervention, Use
from comparisons.model.loading import folder_digest
from comparisons.util.errors import CompareError
from methods._adapter import LEARNING_RATES, TrainedAdapter, questions

if TYPE_CHECKING:
    from typing_extensions import Self

WHOLE_LEARNING_RATES = (1e-5, 1e-4, 1e-3)
"""What "auto" tries where whole matrices are trained."""


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class SFT(TrainedAdapter):
    """Finetune to answer with the matching letter, or with the other one: a LoRA adapter, or whole matrices.

    The loss is on the token that decides between the letters and nowhere else; pairs are read as given. "pos" is
    trained on the matching letter, "neg" on the contrast letter. The strength scales the adapter.

    Attributes:
        learning_rate: of AdamW, constant; "auto" takes the lowest of `LEARNING_RATES` (whole matrices:
            `WHOLE_LEARNING_RATES`) that reaches nine tenths of the largest two-sided shift on dev.
        epochs: passes over the pairs.
        epoch: the epoch whose adapter is used; "auto" takes the earliest that does.
        rank: of the LoRA matrices.
        alpha: LoRA's numerator; an adapter of strength 1 is scaled by alpha / rank.
        dropout: of LoRA's input.
        batch_size: pairs a step.
        target_modules: "all-linear", or ends of module names separated by commas.
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
        return LEARNING_RATES if self.trainable == "lora" else WHOLE_LEARNING_RATES

    def fit(self, fit: Fit) -> None:
        from methods._fullrank import matrices_of
        from methods._training import train

        if self.adapter_from is not None:
            copy_adapter(adapter_folder(self.adapter_from), fit.out)
            return
        matrices = () if self.trainable == "lora" else matrices_of(fit.lm, self.trainable)
        train(fit.lm, replace(self.training(fit, questions(fit)), matrices=matrices), fit.out, fit.scratch)

    def intervene(self, use: Use) -> Intervention:
        if self.adapter_from is None:
            return super().intervene(use)
        return Intervention(adapter=use.fitted, adapter_scale=use.strength)


def adapter_folder(place: str) -> Path:
    """The folder of an adapter, brought from the hub where it is there.

    Raises:
        CompareError: it holds no PEFT adapter in safetensors.
    """
    from comparisons.vectors.hub import PREFIX, download

    folder = download(place) if place.startswith(PREFIX) else Path(place)
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise CompareError(f"sft.adapter_from={place}: there is no {name} in it, so it is no adapter of PEFT's.")
    return folder


def copy_adapter(folder: Path, out: Path) -> None:
    """Takes the two files of an adapter over."""
    for name in ADAPTER_FILES:
        shutil.copy(folder / name, out / name)
