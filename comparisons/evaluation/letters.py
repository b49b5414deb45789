"""How much of a vector is a liking for a letter: its cosine with the direction from one letter to the other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from comparisons.engine.activations import contrast_means
from comparisons.experiment.fitting import Fitter
from comparisons.intervention import Intervention
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch


class Letters:
    """The letter's direction at each block of one model, from one behavior's training pairs.

    Args:
        fitter: model and behavior.
    """

    def __init__(self, fitter: Fitter) -> None:
        self.fitter = fitter

    @cached_property
    def directions(self) -> torch.Tensor | None:
        """Second to first letter at the blocks' outputs on the unchanged model, [layers, width] float64.

        None where all pairs match under one letter, or where too many exceed the model's context.
        """
        try:
            return contrast_means(self.fitter.lm, self.fitter.behavior.train).letter
        except CompareError:
            return None

    def cosine(self, found: Intervention) -> float | None:
        """The cosine of an intervention's vector, as it is added, with the direction towards the first letter.

        None unless the intervention has one edit, which adds a vector to a block's output.
        """
        edits = found.simplified().edits
        if len(edits) != 1 or edits[0].site != "block" or not edits[0].operation.startswith("add"):
            return None
        (edit,) = edits
        vector = edit.multiplier * edit.vector.detach().to("cpu").double()
        if vector.dim() != 1 or self.directions is None:
            return None
        letter = self.directions[edit.layer]
        scale = float(vector.norm() * letter.norm())
        return float(vector @ letter) / scale if scale else None
