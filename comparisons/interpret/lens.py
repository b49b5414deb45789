"""The logit lens of blocks: what attention, residual stream, MLP and block would say, read through the model's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comparisons.interpret.words import piece, pieces, shown
from comparisons.intervention import Intervention
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.model.lm import LM
    from comparisons.model.prompts import ChoicePrompt


@dataclass(frozen=True)
class Guess:
    """A token and its probability."""

    id: int
    text: str
    p: float


@dataclass(frozen=True)
class Reading:
    """One state, decoded.

    Attributes:
        layer: 0-based block.
        site: "attention", "residual", "mlp" or "block"; see `comparisons.engine.inspection.Parts`.
        top: the likeliest tokens.
        letters: probabilities of the two letters, over the whole vocabulary.
    """

    layer: int
    site: str
    top: tuple[Guess, ...]
    letters: tuple[float, float]


@dataclass(frozen=True)
class Lens:
    """All readings at one token.

    Attributes:
        model: its name.
        change: what is in place, in words; None for nothing.
        pieces: the text of the sequence's tokens.
        token: which of them is read, from 0; its prediction is of the next one.
        letters: the two letters.
        readings: by layer and site.
        final: the model's own probabilities of the letters after this token.
    """

    model: str
    change: str | None
    pieces: tuple[str, ...]
    token: int
    letters: tuple[str, str]
    readings: tuple[Reading, ...]
    final: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        layers: dict[int, dict[str, Any]] = {}
        for reading in self.readings:
            layers.setdefault(reading.layer, {"layer": reading.layer})[reading.site] = {
                "top": [vars(guess) for guess in reading.top],
                "letters": dict(zip(self.letters, reading.letters, strict=True)),
            }
        return {
            "model": self.model,
            "change": self.change,
            "tokens": list(self.pieces),
            "token": self.token,
            "letters": list(self.letters),
            "final": dict(zip(self.letters, self.final, strict=True)),
            "layers": list(layers.values()),
        }

    @property
    def where(self) -> str:
        """The token that is read, and what stands before it, in words."""
        start = max(0, self.token - 4)
        return f"token {self.token} of {len(self.pieces)}: …{shown(''.join(self.pieces[start : self.token + 1]))}"


@dataclass(frozen=True)
class LensPoint:
    """What a lens is put on.

    Attributes:
        prompt: the question up to the letter, or to where its answers part.
        letters: its two letters, or what stands there in each.
        token: index among the prompt's tokens, from the end where negative.
        top: how many tokens to name.
    """

    prompt: ChoicePrompt
    letters: tuple[str, str]
    token: int = -1
    top: int = 3


def read_lens(lm: LM, point: LensPoint, intervention: Intervention, change: str | None = None) -> Lens:
    """Reads every block's parts at one token.

    Args:
        lm: the model.
        point: where.
        intervention: whose edits are in place; its prompt is in the tokens.
        change: the intervention, in words.

    Raises:
        CompareError: there is no such token, or see `block_parts`.
    """
    import torch

    from comparisons.engine.inspection import SITES, block_parts, decoded

    tokens = point.prompt.ids
    token = _index(point.token, len(tokens))
    if point.top < 1:
        raise CompareError(f"--top must be at least 1, not {point.top}.")
    parts = block_parts(lm, tokens, point.prompt.prompt_end, token, intervention)
    first, second = point.prompt.targets
    readings = []
    for layer, states in enumerate(parts.states):
        probabilities = decoded(lm, states, intervention).exp()
        values, order = probabilities.topk(min(point.top, probabilities.shape[-1]))
        for row, site in enumerate(SITES):
            guesses = zip(order[row].tolist(), values[row].tolist(), strict=True)
            top = tuple(Guess(i, piece(lm, i, tokens[token]), p) for i, p in guesses)
            readings.append(Reading(layer, site, top, tuple(probabilities[row, [first, second]].tolist())))
    final = parts.logps[torch.tensor([first, second])].exp().tolist()
    words = tuple(pieces(lm, tokens))
    return Lens(lm.name, change, words, token, point.letters, tuple(readings), (final[0], final[1]))


def _index(token: int, count: int) -> int:
    if not -count <= token < count:
        raise CompareError(f"--token {token} is out of range: the prompt has {count} tokens, 0 to {count - 1}.")
    return token % count
