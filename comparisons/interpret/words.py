"""Tokens as text: the piece that each adds, and a form of it that any screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparisons.model.lm import LM

SHOWN = {"\n": "⏎", "\t": "→", " ": "␣", "\r": "⏎"}


def pieces(lm: LM, tokens: Sequence[int]) -> list[str]:
    """The text that each token adds behind the one before it; special tokens as they are written."""
    return [piece(lm, token, tokens[i - 1] if i else None) for i, token in enumerate(tokens)]


def piece(lm: LM, token: int, before: int | None = None) -> str:
    """The text that a token adds behind another one (a decoder drops the blank before a text's first word)."""
    alone = _decoded(lm, [token])
    if before is None:
        return alone
    head, both = _decoded(lm, [before]), _decoded(lm, [before, token])
    return both[len(head) :] if both.startswith(head) else alone


def _decoded(lm: LM, tokens: list[int]) -> str:
    return str(lm.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def shown(text: str, width: int | None = None) -> str:
    """A piece of text in printable characters: blanks, newlines and control characters get a visible sign.

    Args:
        text: any text.
        width: characters to cut it to, with an ellipsis.
    """
    visible = "".join(SHOWN.get(c) or (c if c.isprintable() else "·") for c in text)
    return visible if width is None or len(visible) <= width else visible[: width - 1] + "…"
