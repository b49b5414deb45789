"""How many tokens the engine has run, and how far a run is by the time that they should take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TRAINED_TOGETHER = 16
"""Training pairs of a step, as the methods' trainings have them unless told."""


def steps_of(pairs: int) -> int:
    """The steps of one pass over so many training pairs."""
    return math.ceil(pairs / TRAINED_TOGETHER)


@dataclass(frozen=True)
class Costs:
    """What a model's passes are expected to take, in seconds.

    Attributes:
        token: for each token of a question.
        trained_token: for each that a fit runs.
        start: for each pass, however many tokens it runs.
        adapted: times as long as without that a pass under an adapter takes: a layer is two small products and two
            sums more.
    """

    token: float
    trained_token: float
    start: float
    adapted: float = 1.0

    def seconds(self, passes: float, tokens: float, trained: float = 0.0) -> float:
        """Of so many passes over so many tokens, of which fits run some."""
        return passes * self.start + (tokens - trained) * self.token + trained * self.trained_token


@dataclass
class Work:
    """How far a run is, in seconds as they were expected of what has been done.

    Attributes:
        expected: the seconds of all that the run has to do.
        costs: by which it counts.
        after: the seconds of what comes when all of that is done, and isn't counted as it goes.
        training: of the expected ones those of fits, whose pace is another than that of questions.
        done: of what was done.
        trained: of these what trainings did.
        spared: of fits that were found in the store, and of trainings that go on from a checkpoint.
        found: the keys of fits that have ended or were found.
    """

    expected: float
    costs: Costs
    after: float = 0.0
    training: float = 0.0
    done: float = 0.0
    trained: float = 0.0
    spared: float = 0.0
    found: set[str] = field(default_factory=set)
    _fit: tuple[float, float] = (0.0, 0.0)

    def ran(self, tokens: float, adapted: bool = False) -> None:
        """A pass over so many tokens is about to be run, under an adapter or not."""
        self.done += self.costs.seconds(1, tokens) * (self.costs.adapted if adapted else 1.0)

    def begins(self, seconds: float) -> None:
        """A fit of so many seconds begins, some of which the engine may count as it runs its passes."""
        self._fit = self.done, seconds

    def goes_on(self, share: float) -> None:
        """The fit begins where so much of it was done before."""
        begun, seconds = self._fit
        self.spared += share * seconds
        self._fit = begun - share * seconds, seconds

    def reaches(self, share: float) -> None:
        """So much of the fit is done."""
        begun, seconds = self._fit
        more = max(0.0, begun + share * seconds - self.done)
        self.done, self.trained = self.done + more, self.trained + more

    def fitted(self, key: str, reused: bool, seconds: Callable[[], float]) -> None:
        """A fit of so many seconds has ended or was found; said again, it is the same fit."""
        if key in self.found:
            return
        self.found.add(key)
        if reused:
            self.spared += seconds()
        else:
            self.reaches(1.0)


class TokenMeter:
    """Counts the tokens that the engine runs, for whoever asks.

    Attributes:
        work: how far the run is, where somebody watches.
    """

    def __init__(self) -> None:
        self._open: list[list[int]] = []
        self._adapted = False
        self.work: Work | None = None

    def add(self, tokens: int) -> None:
        """So many are about to be run."""
        if self.work is not None:
            self.work.ran(tokens, self._adapted)
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
    def adapted(self) -> Iterator[None]:
        """Has passes run under an adapter while the context lasts."""
        self._adapted = True
        try:
            yield
        finally:
            self._adapted = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts nothing while the context lasts."""
        before, self._open, self.work = (self._open, self.work), [], None
        try:
            yield
        finally:
            self._open, self.work = before
