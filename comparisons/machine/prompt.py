"""The prompt that a model reads: a probe, token by token, as its tokenizer's files alone tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from comparisons.model.checks import check_known, check_vocabulary
from comparisons.model.explaining import explained
from comparisons.model.loading import fastest
from comparisons.model.mending import QUESTION, SYSTEM
from comparisons.model.prompts import PromptFormat, PromptWriter, checked_writer
from comparisons.model.source import TOKENIZERS, ModelSource
from comparisons.model.tokenizers import read_tokenizer

LAST = 5
"""Tokens that are marked at the end of a prompt."""


@dataclass(frozen=True)
class ShownPrompt:
    """A probe with a system text as a model reads it.

    Attributes:
        format: "chat", "base" or "llama2-paper".
        tokens: the text of each, special ones too.
        prefix: of the tokens between the prompt and a letter.
        letters: of the tokens that decide between A and B.
        notes: what must be known, a line each.
    """

    format: PromptFormat
    tokens: tuple[str, ...]
    prefix: tuple[str, ...]
    letters: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, writer: PromptWriter) -> ShownPrompt:
        """Writes the probe."""
        _, ids = writer.probe()
        asked = writer.choice(QUESTION, ("A", "B"), SYSTEM)
        pieces = _pieces(writer.tokenizer, asked.ids)
        letters = tuple(_pieces(writer.tokenizer, [*asked.ids, target])[-1] for target in asked.targets)
        return cls(
            writer.format,
            _pieces(writer.tokenizer, ids),
            pieces[asked.prompt_end + 1 :],
            letters,
            (*writer.notes, *_untold(writer)),
        )

    @property
    def text(self) -> str:
        """The whole, its last tokens in marks, with line ends in them escaped."""
        body, last = self.tokens[:-LAST], self.tokens[-LAST:]
        return "".join(body) + marked(last)

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


def _untold(writer: PromptWriter) -> list[str]:
    opens = writer.reading.opens
    said = f"the chat template of {writer.name} leaves thoughts to the model: if it begins an answer with {opens!r}, "
    return [f"{said}an empty one stands before letters and texts when it is loaded."] if opens else []


def marked(pieces: Sequence[str]) -> str:
    """Tokens told apart."""
    return "".join(f"«{piece.encode('unicode_escape').decode() if piece.isspace() else piece}»" for piece in pieces)


def shown_prompt(source: ModelSource, embeddings: int) -> ShownPrompt | None:
    """The probe as a model reads it; None where its tokenizer is not on this machine.

    Args:
        source: which model.
        embeddings: how many tokens it has embeddings for.

    Raises:
        CompareError: there is no such model, its tokenizer can't be read or belongs to another, or the model would not
            read what it is asked.
    """
    location = source.location(whole=False)
    place, file = fastest(location)
    folder = Path(place)
    if not file and not _at_hand(folder, place):
        return None
    code = {"trust_remote_code": source.trust_remote_code, "local_files_only": True}
    try:
        tokenizer = read_tokenizer(place, **code, **file)
    except Exception as error:
        if folder.is_dir():
            raise explained(source.name, error, location) from error
        return None
    writer = checked_writer(tokenizer, source.prompt_format, source.name, source.thinking)
    check_vocabulary(tokenizer, source.name, embeddings, writer.probe()[1])
    check_known(tokenizer, source.name, writer.probe()[1])
    return ShownPrompt.of(writer)


def _at_hand(folder: Path, place: str) -> bool:
    """Whether a tokenizer is in the folder, or in the hub's cache: told without importing transformers."""
    if folder.is_dir():
        return any((folder / name).is_file() for name in TOKENIZERS)
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(place, name), str) for name in (*TOKENIZERS, "tokenizer_config.json"))


def _pieces(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to the text: some decoders leave out the blank before a token that is alone."""
    texts = [tokenizer.decode(list(ids[:end]), skip_special_tokens=False) for end in range(len(ids) + 1)]
    return tuple(after[len(before) :] for before, after in pairwise(texts))
