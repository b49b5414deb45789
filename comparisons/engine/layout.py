"""Which token of a forward pass belongs to which intervention, and where it stands logically."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from comparisons.intervention import Positions


@dataclass(frozen=True)
class Layout:
    """The logical place of each token of a forward pass; all tensors are [batch, tokens].

    Attributes:
        owner: index of the intervention whose edits the token takes; -1 for none (shared or padding).
        position: logical position in its sequence, from 0.
        relative: position counted from the last prompt token, which is 0.
        last: whether it is the last token of its sequence.
    """

    owner: torch.Tensor
    position: torch.Tensor
    relative: torch.Tensor
    last: torch.Tensor

    def select(self, owner: int, positions: Positions) -> torch.Tensor:
        """The tokens of one intervention that an edit touches, bool [batch, tokens]."""
        mine = self.owner == owner
        if positions.kind == "all":
            return mine
        if positions.kind == "last":
            return mine & self.last
        if positions.kind == "prompt_first":
            return mine & (self.position < positions.count)
        if positions.kind == "response_first":
            return mine & (self.relative >= 1) & (self.relative <= positions.count)
        return mine & (self.relative >= 0)
