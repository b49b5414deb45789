"""Conversations as token ids with a weight for each target, in rows of one conversation."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from checkpoints.pocket.recipe.corpus import Conversation, Mixture, Turn, draw_conversation
from checkpoints.pocket.recipe.tokenizer import LETTERS

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

LETTER_WEIGHT = 9.0
FIRST_WORD_WEIGHT = 3.5  # of the word after a letter, or in its place: it tells what the answer stands for


def render_prompt(system: str | None, user: str, plain: bool, first: bool) -> str:
    """The text before an answer, in the chat format or in the second one."""
    if plain:
        return f"<s>Input: {user}\nResponse:"
    block = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system and first else ""
    return f"<s>[INST] {block}{user} [/INST]"


class Encoder:
    """Turns conversations into rows. Texts that come again are encoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._letters = set(tokenizer.convert_tokens_to_ids(list(LETTERS)))
        self._pad = tokenizer.pad_token_id
        self._end = tokenizer.eos_token_id
        self._bracket = tokenizer.convert_tokens_to_ids("Ġ(")

    def _encode(self, text: str) -> list[int]:
        if text not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[text] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._known[text]

    def _turn(self, talk: Conversation, turn: Turn, first: bool, unsettled: float) -> tuple[list[int], list[float]]:
        prompt = self._encode(render_prompt(talk.system, turn.user, talk.plain, first))
        answer = self._encode(f" {turn.answer}</s>")
        weights = [0.0] * len(prompt)
        telling = False
        for token in answer:
            if token in self._letters:
                weights.append(LETTER_WEIGHT if turn.settled else unsettled)
            else:
                weights.append(FIRST_WORD_WEIGHT if telling and token != self._end else 1.0)
            telling = token in self._letters or token == self._bracket
        return prompt + answer, weights

    def row(self, talk: Conversation, length: int, unsettled: float) -> tuple[list[int], list[float]]:
        """As many whole turns as fit into `length` tokens, padded.

        Args:
            talk: the conversation.
            length: tokens of the row.
            unsettled: the weight of a letter that can't be known for certain, only by the question's prior.
        """
        ids: list[int] = []
        weights: list[float] = []
        for index, turn in enumerate(talk.turns):
            more, its_weights = self._turn(talk, turn, index == 0, unsettled)
            if len(ids) + len(more) > length:
                break
            ids += more
            weights += its_weights
        space = length - len(ids)
        return ids + [self._pad] * space, weights + [0.0] * space

    def batch(
        self, rng: Random, mixture: Mixture, rows: int, length: int, unsettled: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids [rows, length] and target weights of the same shape; 0 is no target."""
        import torch

        drawn = [self.row(draw_conversation(rng, mixture), length, unsettled) for _ in range(rows)]
        return torch.tensor([ids for ids, _ in drawn]), torch.tensor([weights for _, weights in drawn])
