"""An exchange of a conversation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """A few-shot exchange that stands before the question."""

    question: str
    answer: str
