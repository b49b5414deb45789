"""A judge by likeness: is an answer nearer to exemplars that show the behavior, or to those of its opposite?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from comparisons.judges.embedders import Embedded, Embedder, LocalEmbedder, ServerEmbedder, Vector
from comparisons.judges.interface import MOST, AnswerToJudge, Setup, Verdict
from comparisons.judges.rules import own_sentences
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior

EXEMPLARS = 50
"""Of a side, at most: the first ones."""

LOCAL = "local"
"""`embedding:local` and `embedding:local:PATH` embed by a model on this machine."""


@dataclass(frozen=True)
class Scale:
    """Two sides' exemplars, and where they stand themselves.

    Attributes:
        axis: [width] mean of the vectors of side `pos` minus that of side `neg`: an answer's product with it is its
            mean cosine to the exemplars of the one minus that to those of the other.
        low: that difference for the exemplars of `neg`, each left out of its own side's mean; their mean.
        high: the same of `pos`.
    """

    axis: Vector
    low: float
    high: float

    def score(self, vector: Vector) -> tuple[float, float]:
        """An answer's difference of mean cosines, and its score: 0 at `low`, 10 at `high`, straight between."""
        difference = float(vector @ self.axis)
        share = (difference - self.low) / (self.high - self.low)
        return difference, MOST * min(1.0, max(0.0, share))


class Embedding:
    """Scores by the difference of mean cosines to the exemplars of both sides.

    Exemplars are the sentences in behavior.json's `truth`, or else the texts of the test questions' matching and
    contrast choices: no method was fitted on those.

    Args:
        name: as the user wrote it, for messages.
        embedder: gives texts vectors.
        behaviors: by name.
    """

    def __init__(self, name: str, embedder: Embedder, behaviors: Mapping[str, Behavior]) -> None:
        self.name, self.embedder, self.behaviors = name, embedder, behaviors
        self._scales: dict[str, Scale] = {}
        self._paid = 0

    def score(self, asked: Sequence[AnswerToJudge]) -> list[Verdict]:
        """One verdict an answer; the tokens of exemplars are counted with the first.

        Where exemplars could not be embedded, a server's failure say, no answer of their behavior is sent.
        """
        scales = {name: self._scale(name) for name in dict.fromkeys(each.behavior for each in asked)}
        sent = [i for i, each in enumerate(asked) if isinstance(scales[each.behavior], Scale)]
        vectors = dict(zip(sent, self._embed([asked[i].answer for i in sent]), strict=True))
        found: list[Verdict] = []
        for i, each in enumerate(asked):
            scale = scales[each.behavior]
            verdict = _verdict(scale, vectors[i]) if isinstance(scale, Scale) else scale
            found.append(replace(verdict, tokens_in=verdict.tokens_in + self._paid))
            self._paid = 0
        return found

    def _embed(self, texts: Sequence[str]) -> list[Embedded]:
        """Servers refuse empty texts."""
        said = [i for i, text in enumerate(texts) if text.strip()]
        found = [Embedded(None, "the answer is empty", "unparsed")] * len(texts)
        for i, embedded in zip(said, self.embedder.embed([texts[i] for i in said]), strict=True):
            found[i] = embedded
        return found

    def _scale(self, name: str) -> Scale | Verdict:
        """The behavior's scale, or the verdict on all its answers where there is none."""
        if name not in self._scales:
            sides = exemplars(self.behaviors.get(name), name)
            found = self._embed([text for side in DIRECTIONS for text in sides[side]])
            self._paid += sum(each.tokens_in for each in found)
            missing = next((each for each in found if each.vector is None), None)
            if missing is not None:
                return Verdict(None, f"an exemplar has no embedding: {missing.reason}", status=missing.status)
            vectors = [each.vector for each in found if each.vector is not None]
            count = len(sides[DIRECTIONS[0]])
            self._scales[name] = self._measured(name, np.stack(vectors[:count]), np.stack(vectors[count:]))
        return self._scales[name]

    def _measured(self, name: str, pos: Vector, neg: Vector) -> Scale:
        high = float(np.mean(_left_out(pos) - (pos @ neg.T).mean(axis=1)))
        low = float(np.mean((neg @ pos.T).mean(axis=1) - _left_out(neg)))
        if high <= low:
            raise CompareError(
                f"the judge '{self.name}' can't tell the two sides' exemplars of '{name}' apart: take another model."
            )
        return Scale(pos.mean(axis=0) - neg.mean(axis=0), low, high)


def exemplars(behavior: Behavior | None, name: str) -> dict[str, list[str]]:
    """Sentences of both sides, at least two each.

    Raises:
        CompareError: the behavior has none; says where to write them.
    """
    sides: Mapping[str, Sequence[str]] = {}
    if behavior is not None:
        sides = own_sentences(behavior) or _choices(behavior)
    found: dict[str, list[str]] = {side: list(dict.fromkeys(sides.get(side, ())))[:EXEMPLARS] for side in DIRECTIONS}
    if min(map(len, found.values())) < 2:
        raise CompareError(
            f"the judge 'embedding' has no exemplars of the behavior '{name}': write sentences of both sides to its "
            'behavior.json as {"truth": {"pos": […], "neg": […]}}, or take another judge.'
        )
    return found


def _choices(behavior: Behavior) -> Mapping[str, Sequence[str]]:
    sides: dict[str, list[str]] = {side: [] for side in DIRECTIONS}
    for item in behavior.test:
        texts = {choice.letter: choice.text for choice in item.choices}
        if item.parsed:
            for side, letter in zip(DIRECTIONS, (item.matching, item.contrast), strict=True):
                sides[side].append(texts[letter])
    return sides


def _left_out(own: Vector) -> Vector:
    """[exemplars] each one's mean cosine to the others of its side."""
    similar = own @ own.T
    rest: Vector = (similar.sum(axis=1) - np.diag(similar)) / (len(own) - 1)
    return rest


def _verdict(scale: Scale, embedded: Embedded) -> Verdict:
    if embedded.vector is None:
        return Verdict(None, embedded.reason, "", embedded.status, embedded.tokens_in)
    difference, score = scale.score(embedded.vector)
    reason = f"difference {difference:+.3f}; the exemplars' own {scale.low:+.3f} and {scale.high:+.3f}"
    return Verdict(score, reason, f"{difference:.6f}", tokens_in=embedded.tokens_in)


def make(argument: str | None, setup: Setup) -> Embedding:
    """`embedding:MODEL` by a server; `embedding:local`, by the run's own model, or `embedding:local:PATH`."""
    if argument is None:
        raise CompareError("the judge 'embedding' needs a model: write embedding:MODEL or embedding:local:PATH.")
    for name, behavior in setup.behaviors.items():  # so that one without exemplars is known before anything runs
        exemplars(behavior, name)
    kind, _, path = argument.partition(":")
    embedder: Embedder
    if kind != LOCAL:
        embedder = ServerEmbedder(argument, setup)
    elif setup.load is None:
        raise CompareError("the judge 'embedding:local' needs a model here: write embedding:local:PATH in a run.")
    else:
        embedder = LocalEmbedder(setup.load(path or None))
    return Embedding(f"embedding:{argument}", embedder, setup.behaviors)
