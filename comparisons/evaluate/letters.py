"""How much of a vector is a liking for a letter: its cosine with the direction from one letter to the other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from comparisons.engine.activations import contrast_activations
from comparisons.errors import CompareError
from comparisons.fitting import Bench
from comparisons.intervention import Intervention

if TYPE_CHECKING:
    import torch


class Letters:
    """The letter's direction at each block of one model, from one behavior's training pairs.

    Args:
        bench: model and behavior.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @cached_property
    def directions(self) -> torch.Tensor | None:
        """Second to first letter at the blocks' outputs on the unchanged model, [layers, width] float64.

        Half the difference between the mean of matching − contrast over the pairs that match under their first
        letter and the mean over those that match under the second: what follows the content cancels. None where
        all match under one, or where too many pairs exceed the model's context.
        """
        import torch

        items = self.bench.behavior.train
        sums: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        counts = {True: 0, False: 0}
        try:
            for indices, activations in contrast_activations(self.bench.lm, items):
                difference = activations.double()
                difference = difference[:, 0] - difference[:, 1]
                first = torch.tensor([items[i].matching < items[i].contrast for i in indices])
                for side in (True, False):
                    sums[side].append(difference[first == side].sum(dim=0))
                    counts[side] += int((first == side).sum())
        except CompareError:
            return None
        if not all(counts.values()):
            return None
        means = {side: torch.stack(parts).sum(dim=0) / counts[side] for side, parts in sums.items()}
        return (means[True] - means[False]) / 2

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
