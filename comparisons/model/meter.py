"""How many tokens the engine has run, and how far a run is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Work:
    """How far a run is, in tokens; one of a training counts as three.

    Attributes:
        done: those that were run.
        spared: those of fits that were found in the store, and of trainings that go on from a checkpoint.
        found: the keys of fits that have ended or were found.
    """

    done: float = 0.0
    spared: float = 0.0
    found: set[str] = field(default_factory=set)
    _fit: tuple[float, float] = (0.0, 0.0)

    def begins(self, tokens: float) -> None:
        """A fit of so many tokens begins, some of which the engine may count as it runs them."""
        self._fit = self.done, tokens

    def goes_on(self, share: float) -> None:
        """The fit begins where so much of it was done before."""
        begun, tokens = self._fit
        self.spared += share * tokens
        self._fit = begun - share * tokens, tokens

    def reaches(self, share: float) -> None:
        """So much of the fit is done."""
        begun, tokens = self._fit
        self.done = max(self.done, begun + share * tokens)

    def fitted(self, key: str, reused: bool, tokens: Callable[[], float]) -> None:
        """A fit of so many tokens has ended or was found; said again, it is the same fit."""
        if key in self.found:
            return
        self.found.add(key)
        if reused:
            self.spared += tokens()
        else:
            self.reaches(1.0)


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

    def trained(self, share: float) -> None:
        """So much of a training is done."""
        if self.work is not None:
            self.work.reaches(share)

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
