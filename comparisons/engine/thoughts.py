"""How far the rows of a batch have come with their thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparisons.model.thinking import Thinking

OPEN = 1 << 30
"""The end of a thought that goes on."""


class Thoughts:
    """Where the thought of each row ends.

    Args:
        thinking: how thoughts end.
        tokenizer: the model's.
        most: tokens of a thought.
        rows: how many there are.

    Attributes:
        ends: for each row, how many of its new tokens were written when its thought was known to have ended.
    """

    def __init__(self, thinking: Thinking, tokenizer: Any, most: int, rows: int) -> None:
        self.thinking, self.decode, self.most = thinking, tokenizer.decode, most
        self.ends = [OPEN] * rows
        self._starts: dict[int, int] = {}
        # What ends a message of a thought may end an answer, too: within the thought more follows.
        self._inner = {*tokenizer(thinking.inner, add_special_tokens=False)["input_ids"]} if thinking.inner else set()

    def pass_over(self, rows: Sequence[int], tokens: Sequence[int]) -> list[bool]:
        """Whether a token is within a row's thought where it would end an answer."""
        return [row not in self._starts and token in self._inner for row, token in zip(rows, tokens, strict=True)]

    def read(self, rows: Sequence[int], written: Sequence[Sequence[int]], most: int) -> list[bool]:
        """Takes in what the rows have written so far; says which have room for more.

        Args:
            rows: which rows have a new token.
            written: of all rows, the new tokens.
            most: tokens of an answer.
        """
        for row in rows:
            start = None if row in self._starts else self.thinking.answer_start(written[row], self.decode)
            if start is not None:
                self._starts[row], self.ends[row] = start, len(written[row])
        starts = [self._starts.get(row) for row in rows]
        return [
            len(written[row]) < self.most if start is None else len(written[row]) - start < most
            for row, start in zip(rows, starts, strict=True)
        ]
