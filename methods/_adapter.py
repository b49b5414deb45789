"""What methods that train an adapter on the answer's letter share: its settings, how they are chosen, its use."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.method import Fit, Intervention, Method, Use, use_only
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from typing_extensions import Self

    from methods._gradient import Questions
    from methods._training import Training

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""What "auto" tries: from what suits LoRA on billions of parameters to what it takes on a million."""


@dataclass(frozen=True)
class TrainedAdapter(Method):
    """A LoRA adapter, saved after each epoch, which the strength scales; a subclass's `fit` says what it trains on."""

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

    def rates(self) -> Sequence[float]:
        """The learning rates that "auto" tries, from mild to strong."""
        return LEARNING_RATES

    def candidates(self, blocks: int) -> Sequence[Self]:
        rates = self.rates() if self.learning_rate == "auto" else (self.learning_rate,)
        epochs = range(1, self.epochs + 1) if self.epoch == "auto" else (self.epoch,)
        found = [replace(self, learning_rate=r, epoch=e) for r, e in itertools.product(rates, epochs)]
        return () if found == [self] else found

    def fit_passes(self) -> float:
        return 3.0 * self.epochs

    def training(self, fit: Fit, asked: Questions) -> Training:
        """The training of a fit, on the wanted letters of some questions."""
        from methods._training import Training

        if self.learning_rate == "auto":
            raise CompareError(f"{self._name}.learning_rate is still auto: choose one on dev first, or set it.")
        return Training(
            prompts=asked.prompts,
            targets=asked.targets,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            batch_size=self.batch_size,
            target_modules=self.target_modules,
            seed=fit.seed,
        )

    def intervene(self, use: Use) -> Intervention:
        from methods._training import epoch_folder

        name = self._name
        if self.epoch == "auto":
            raise CompareError(f"{name}.epoch is still auto: choose one on dev first, or set {name}.epoch=N.")
        if not 1 <= self.epoch <= self.epochs:
            raise CompareError(f"{name}.epoch={self.epoch} is out of range: {name}.epochs={self.epochs} are trained.")
        return Intervention(adapter=epoch_folder(use.fitted, self.epoch), adapter_scale=use.strength)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def questions(fit: Fit, head: Intervention | None = None) -> Questions:
    """The training pairs' prompts up to the deciding token, under a prompt, and the tokens of the two letters."""
    from comparisons.engine.choices import pair_prompts
    from methods._gradient import Questions

    wanted = 0 if fit.direction == "pos" else 1
    prompts = list(pair_prompts(fit.lm, fit.behavior.train, head or Intervention()).values())
    return Questions(
        prompts=[p.ids for p in prompts],
        ends=[p.prompt_end for p in prompts],
        targets=[p.targets[wanted] for p in prompts],
        others=[p.targets[1 - wanted] for p in prompts],
    )
