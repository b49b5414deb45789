"""One vector trained by gradient (Subramani et al. 2022; Cao et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import (
    Descent,
    Edit,
    Fit,
    Intervention,
    PlacedVector,
    Target,
    Use,
    by_measure,
    contrast_activations,
    questions,
    read_vectors,
    train_edit,
    write_vectors,
)


@dataclass(frozen=True)
class LearnedVector(PlacedVector):
    """Add one vector at one layer, trained by gradient on the finetuning's own loss and data.

    Sources: Subramani et al. 2022 (Extracting Latent Steering Vectors), section 2; Cao et al. 2024 (BiPO). The loss is
    −log p of what `sft` is trained on; nothing but the vector is trained. It
    is added from the last prompt token on, as in `caa`: what is left between it and `caa` is how the vector is found,
    between it and `sft` what is trained.

    Attributes:
        layer: 0-based block; "auto" trains one vector a layer, to "pos" where both directions are asked
            for, and chooses on dev.
        positions: to which tokens it is added, as in `ablate`; it is trained from the last prompt token on, whichever.
        learning_rate: of Adam, in units of the activations' root mean square at the layer, so that it means the same
            on every model.
        epochs: passes over the pairs.
        batch_size: pairs a step.
        target: what is trained on: the "letter", the "answer"'s text, or "auto", by what the run measures.
    """

    layer: int | Literal["auto"] = "auto"  # not for use alone: each layer has a training of its own
    learning_rate: float = 0.1
    epochs: int = 3
    batch_size: int = 16
    target: Target = by_measure("auto")

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"

    def fit_passes(self) -> float:
        return 3.0 * self.epochs

    def fit(self, fit: Fit) -> None:
        import torch

        layer = fit.lm.check_layer(self.chosen_layer())
        _, activations = next(contrast_activations(fit, [layer]))
        rate = self.learning_rate * activations.square().mean().sqrt().item()
        start = torch.zeros(fit.lm.width)
        how = Descent(rate, self.epochs, self.batch_size, fit.seed)
        write_vectors(
            fit.out, train_edit(fit.lm, questions(fit, target=self.target), start, lambda v: Edit(layer, v), how)[None]
        )

    def intervene(self, use: Use) -> Intervention:
        return self.adds(read_vectors(use.fitted)[0], use.strength)
