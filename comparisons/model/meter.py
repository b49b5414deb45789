"""How many tokens the engine has run, and how far a run is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Work:
    """How far a run is, in tokens; one of a training counts as three.

    Attributes:
        done: those that were run.
        spared: those of fits that were found in the store.
        found: the keys of fits that are in one of the two.
    """

    done: float = 0.0
    spared: float = 0.0
    found: set[str] = field(default_factory=set)

    def fitted(self, key: str, reused: bool, tokens: float, before: float) -> None:
        """A fit of so many tokens has ended or was found; `before` it so many had been done, some of which are its."""
        if key not in self.found and reused:
            self.spared += tokens
        elif key not in self.found:
            self.done = max(self.done, before + tokens)
        self.found.add(key)


class TokenMeter:
    """Counts the tokens that the engine runs, for whoever asks.

    Attributes:
        work: how far the run is, where somebody watches.
    """

    def __init__(self) -> None:
        self._open: list[list[int]] = []
        self.work: Work | None = None

    def add(self, tokens: int) -> None:
        """So many are about to be run."""
        if self.work is not None:
            self.work.done += tokens
        for counts in self._open:
            counts.append(tokens)

    @contextmanager
    def counting(self) -> Iterator[list[int]]:
        """Collects the counts of each pass while the context lasts."""
        counts: list[int] = []
        before, self._open = self._open, [*self._open, counts]
        try:
            yield counts
        finally:
            self._open = before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts nothing while the context lasts."""
        before, self._open = self._open, []
        try:
            yield
        finally:
            self._open = before
