"""What trained methods share: adapters by trl, vectors by gradient, controls on shuffled labels."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.intervention import Edit, Intervention
from comparisons.method.interface import Fit, Method, Use, by_measure, use_only
from comparisons.method.recipes import Descent, Questions, Target, Training, epoch_folder, questions
from comparisons.model.checks import ADAPTER, warn_of_another_model
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

    from comparisons.model.lm import LM

ADAPTER_FILES = (ADAPTER, "adapter_model.safetensors")
"""Of an adapter in PEFT's format."""

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""What "auto" tries: from what suits LoRA on billions of parameters to what it takes on a million."""


def train_adapter(lm: LM, training: Training, out: Path, scratch: Path | None = None) -> None:
    """Trains an adapter and saves it after each epoch, in PEFT's format, in `epoch_folder(out, k)`.

    Model and process are left as they were. The learning rate is constant and no step looks ahead, so epoch k of a
    longer training equals a training of k epochs, bit by bit on one machine.

    Args:
        lm: the model.
        training: what to train and how.
        out: an empty folder.
        scratch: where checkpoints outlive a kill, beside `out`; the same training then goes on from the last one, to
            the same adapter. None for no checkpoints.
    """
    from comparisons.method import _trainer

    _trainer.train(lm, training, out, scratch)


def linear_modules(lm: LM, layers: Sequence[int]) -> list[str]:
    """Names of the linear modules in some decoder blocks, for `Training.matrices`; experts and their routers are none.

    Raises:
        CompareError: there is no such block, it has no such module, or the model is quantized.
    """
    from comparisons.method import _targets

    return _targets.linear_modules(lm, layers)


def take_adapter(lm: LM, folder: Path, out: Path) -> None:
    """Copies a PEFT adapter to where a fit writes, with a warning where it says that another model is its base."""
    base = json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    warn_of_another_model(f"the adapter in {folder}", base, lm.name)
    for name in ADAPTER_FILES:
        shutil.copy(folder / name, out / name)


@dataclass(frozen=True)
class TrainedAdapter(Method):
    """A LoRA adapter, saved after each epoch, which the strength scales; a subclass's `fit` says what it trains on.

    Attributes:
        learning_rate: of AdamW, constant; "auto" takes the lowest of `rates` that reaches nine tenths of the largest
            shift on dev, to "pos" where both directions are asked for.
        epochs: passes over the pairs.
        epoch: the epoch whose adapter is used; "auto" takes the earliest that reaches nine tenths of the largest
            two-sided shift.
        rank, alpha, dropout, batch_size, target_modules: see `Training`.
        target: what is trained on: the "letter", the "answer"'s text, or "auto", by what the run measures.
    """

    learning_rate: float | Literal["auto"] = "auto"
    epochs: int = 3
    epoch: int | Literal["auto"] = use_only("auto")
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    batch_size: int = 16
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    target: Target = by_measure("auto")

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"
    adapts: ClassVar[bool] = True
    mild_first: ClassVar[bool] = True

    def rates(self) -> Sequence[float]:
        """The learning rates that "auto" tries, from mild to strong."""
        return LEARNING_RATES

    def candidates(self, blocks: int) -> Sequence[Self]:
        """Every open learning rate with every open epoch."""
        rates = self.rates() if self.learning_rate == "auto" else (self.learning_rate,)
        epochs = range(1, self.epochs + 1) if self.epoch == "auto" else (self.epoch,)
        every = [replace(self, learning_rate=r, epoch=e) for r, e in itertools.product(rates, epochs)]
        return () if every == [self] else every

    def fit_passes(self) -> float:
        """A training pass an epoch."""
        return 3.0 * self.epochs

    def train(self, fit: Fit, beta: float | None = None, matrices: Sequence[str] = ()) -> None:
        """Trains on the direction's answers of the training pairs; see `Training` for the arguments.

        Raises:
            CompareError: the learning rate is still open.
        """
        if self.learning_rate == "auto":
            raise CompareError(f"{self._name}.learning_rate is still auto: choose one on dev first, or set it.")
        training = Training(
            questions=questions(fit, target=self.target),
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            batch_size=self.batch_size,
            target_modules=self.target_modules,
            seed=fit.seed,
            beta=beta,
            matrices=matrices,
        )
        train_adapter(fit.lm, training, fit.out, fit.scratch)

    def intervene(self, use: Use) -> Intervention:
        """The chosen epoch's adapter, scaled by the strength."""
        name = self._name
        if self.epoch == "auto":
            raise CompareError(f"{name}.epoch is still auto: choose one on dev first, or set {name}.epoch=N.")
        if not 1 <= self.epoch <= self.epochs:
            raise CompareError(f"{name}.epoch={self.epoch} is out of range: {name}.epochs={self.epochs} are trained.")
        return Intervention(adapter=epoch_folder(use.fitted, self.epoch), adapter_scale=use.strength)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def train_edit(
    lm: LM, asked: Questions, start: torch.Tensor, edit: Callable[[torch.Tensor], Edit], how: Descent
) -> torch.Tensor:
    """Trains the vector of an edit on the mean negative log-probability of the targets, an adapter's own loss.

    Args:
        lm: the model; only the vector is trained.
        asked: what to answer.
        start: the vector to begin with.
        edit: the edit that a vector stands for.
        how: the training.

    Returns:
        The trained vector, float32 on the CPU.
    """
    from comparisons.method import _gradient

    return _gradient.descend(lm, asked, start, edit, how)


def shuffled(fit: Fit) -> Fit:
    """The same fit for a control: matching and contrast are exchanged in half of the pairs, chosen by the seed."""
    items = fit.behavior.train
    chosen = frozenset(random.Random(fit.seed).sample(range(len(items)), len(items) // 2))
    train = tuple(
        replace(item, matching=item.contrast, contrast=item.matching) if i in chosen else item
        for i, item in enumerate(items)
    )
    return replace(fit, behavior=replace(fit.behavior, train=train), exchanged=chosen)
