"""Supervised finetuning of the answer letter with LoRA (Hu et al. 2021)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from comparisons.errors import CompareError
from comparisons.method import Fit, Intervention, Method, Use, use_only

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""What "auto" tries: from what suits LoRA on billions of parameters to what it takes on a million."""


@dataclass(frozen=True)
class SFT(Method):
    """Finetune a LoRA adapter to answer with the matching letter, or with the other one.

    The loss is on the token that decides between the letters and nowhere else; pairs are read as given. "pos" is
    trained on the matching letter, "neg" on the contrast letter. The strength scales the adapter.

    Attributes:
        learning_rate: of AdamW, constant; "auto" takes the lowest of `LEARNING_RATES` that reaches nine tenths of the
            largest two-sided shift on dev.
        epochs: passes over the pairs.
        epoch: the epoch whose adapter is used; "auto" takes the earliest that does.
        rank: of the LoRA matrices.
        alpha: LoRA's numerator; an adapter of strength 1 is scaled by alpha / rank.
        dropout: of LoRA's input.
        batch_size: pairs a step.
        target_modules: "all-linear", or ends of module names separated by commas.
    """

    learning_rate: float | Literal["auto"] = "auto"
    epochs: int = 3
    epoch: int | Literal["auto"] = use_only("auto")
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    batch_size: int = 16
    target_modules: str = "all-linear"

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"
    adapts: ClassVar[bool] = True
    mild_first: ClassVar[bool] = True

    def candidates(self, blocks: int) -> Sequence[SFT]:
        rates = LEARNING_RATES if self.learning_rate == "auto" else (self.learning_rate,)
        epochs = range(1, self.epochs + 1) if self.epoch == "auto" else (self.epoch,)
        found = [replace(self, learning_rate=r, epoch=e) for r, e in itertools.product(rates, epochs)]
        return () if found == [self] else found

    def fit_passes(self) -> float:
        return 3.0 * self.epochs

    def fit(self, fit: Fit) -> None:
        from methods._training import Training, train

        if self.learning_rate == "auto":
            raise CompareError("sft.learning_rate is still auto: choose one on dev first, or set it.")
        prompts, targets = examples(fit)
        training = Training(
            prompts=prompts,
            targets=targets,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            batch_size=self.batch_size,
            target_modules=self.target_modules,
            seed=fit.seed,
        )
        train(fit.lm, training, fit.out)

    def intervene(self, use: Use) -> Intervention:
        from methods._training import epoch_folder

        if self.epoch == "auto":
            raise CompareError("sft.epoch is still auto: choose one on dev first, or set sft.epoch=N.")
        if not 1 <= self.epoch <= self.epochs:
            raise CompareError(f"sft.epoch={self.epoch} is out of range: sft.epochs={self.epochs} are trained.")
        return Intervention(adapter=epoch_folder(use.fitted, self.epoch), adapter_scale=use.strength)


def examples(fit: Fit) -> tuple[list[tuple[int, ...]], list[int]]:
    """The prompts of the training pairs up to the deciding token, and that token for the direction's letter."""
    from comparisons.engine.choices import pair_prompts

    wanted = 0 if fit.direction == "pos" else 1
    prompts = pair_prompts(fit.lm, fit.behavior.train, Intervention()).values()
    return [p.ids for p in prompts], [p.targets[wanted] for p in prompts]
