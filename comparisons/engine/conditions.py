"""Edits with a condition: in which rows of a pass they act, decided where the prompts end and kept for what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from comparisons.intervention import Condition

Tokens = tuple[torch.Tensor, torch.Tensor]
"""Rows and columns of some tokens of a pass, [n] each."""

Standing = Callable[[Tokens, int], Tokens]
"""Where tokens' outputs of a block stand in what it hands on."""


class Decisions:
    """What has been decided of the edits of a pass, in their order; kept for the passes that go on with its rows.

    Attributes:
        acts: bool [1 + edits with a condition, rows]; the first line is that of edits without one, which always act.
    """

    def __init__(self) -> None:
        self.acts = torch.empty(0, 0, dtype=torch.bool)

    def take(self, rows: torch.Tensor) -> None:
        """Goes on with some of the rows; their indices, [rows]."""
        if len(self.acts):
            self.acts = self.acts[:, rows.to(self.acts.device)]

    def deciding(
        self, conditions: Sequence[Condition], ends: Sequence[Tokens], rows: int, standing: Standing
    ) -> Iterator[tuple[int, Callable[[torch.Tensor], torch.Tensor]]]:
        """What must see the output of which block, for the edits to be decided.

        Args:
            conditions: of the edits.
            ends: of each, the last prompt tokens that the pass holds; none where it goes on with what was decided.
            rows: of the pass.
            standing: where these tokens' outputs are.
        """
        held = any(len(row) for row, _ in ends)
        if held or not len(self.acts):  # a part of a prompt has no token on which such an edit could act
            self.acts = torch.ones(1 + len(conditions), rows, dtype=torch.bool, device=ends[0][0].device)
        if not held:
            return
        alike: dict[str, list[int]] = {}
        for place, condition in enumerate(conditions):
            alike.setdefault(condition.digest, []).append(place)
        for places in alike.values():
            condition = conditions[places[0]]
            lines = torch.cat([torch.full_like(ends[place][0], 1 + place) for place in places])
            tokens = (torch.cat([ends[place][0] for place in places]), torch.cat([ends[place][1] for place in places]))
            yield condition.layer, self._decide(condition, lines, tokens, standing)

    def _decide(
        self, condition: Condition, lines: torch.Tensor, tokens: Tokens, standing: Standing
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        def decide(hidden: torch.Tensor) -> torch.Tensor:
            row, column = standing(tokens, condition.layer)
            states = hidden[row.to(hidden.device), column.to(hidden.device)]
            self.acts[lines, tokens[0]] = condition.holds(states).to(self.acts.device)
            return hidden

        return decide
