"""The model on which statements are checked: each behavior with its contrast pairs' differences, and its vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from checkpoints.pocket.recipe.card import score
from comparisons.dataset.behaviors import Behavior, Library
from comparisons.engine.activations import contrast_differences
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM

Turn = Callable[[str], None]


@dataclass(frozen=True)
class ModelSizes:
    """How much is measured on the model.

    Attributes:
        behaviors: their names; all of the library's by default.
        shuffles: vectors from shuffled labels, a behavior.
        randoms: random vectors of each kind that they are ranked among.
        rank_items: test questions on which ranks are found; ranks are exact on any, so few do.
        items: test questions of everything else; all by default.
        strengths: doses, each twice the one before.
        constants: planted on a letter's logit.
        draws: of the null distribution of the ranks.
        seed: of splits, subsets and random vectors.
    """

    behaviors: tuple[str, ...] | None = None
    shuffles: int = 60
    randoms: int = 199
    rank_items: int = 40
    items: int | None = None
    strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    constants: tuple[float, ...] = (0.5, 1.0, 2.0)
    draws: int = 20_000
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """A behavior of the model.

    Attributes:
        lm: the model.
        behavior: with a dev split.
        layer: the one with the largest two-sided shift on dev at strength 1.
        differences: [pairs, width] float64: activations of the matching minus the contrast answer at the layer.
    """

    lm: LM
    behavior: Behavior
    layer: int
    differences: torch.Tensor

    @property
    def vector(self) -> torch.Tensor:
        """The mean difference, [width] float64: what contrastive activation addition adds."""
        return self.differences.mean(dim=0)

    def steered(self, vector: torch.Tensor, multiplier: float = 1.0) -> Intervention:
        """A vector added at the subject's layer."""
        return Intervention(edits=(Edit(self.layer, vector.float(), multiplier=multiplier),))


def subjects(lm: LM, library: Library, sizes: ModelSizes, turn: Turn) -> Iterator[Subject]:
    """Each behavior in turn, its layer chosen on dev."""
    for name in sizes.behaviors or library.names:
        turn(f"{lm.name}: {name}")
        yield subject(lm, library.behavior(name).with_dev(sizes.seed))


def subject(lm: LM, behavior: Behavior) -> Subject:
    """A behavior, with the layer that dev prefers."""
    differences = contrast_differences(lm, behavior.train)
    layers = range(len(lm.blocks))
    means = differences.mean(dim=0).float()
    tried = [Intervention(edits=(Edit(at, means[at], multiplier=sign),)) for sign in (1.0, -1.0) for at in layers]
    more, less = score(lm, behavior.dev, tried).p.mean(axis=1).reshape(2, len(layers))
    layer = int((more - less).argmax())
    return Subject(lm, behavior, layer, differences[:, layer].contiguous())
