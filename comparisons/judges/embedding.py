"""A judge by likeness: is an answer nearer to exemplars that show the behavior, or to those of its opposite?

Texts become vectors by a server's embeddings, or by the mean of a local model's hidden states.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from comparisons.judges.client import TIMEOUT, Answer, Client, Reply, Request
from comparisons.judges.interface import MOST, AnswerToJudge, Setup, Verdict
from comparisons.judges.rules import own_sentences
from comparisons.results.answers import Status
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError
from comparisons.util.table import number

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.model.lm import LM

Vector = NDArray[np.float64]

EXEMPLARS = 50
"""Of a side, at most: the first ones."""

LOCAL = "local"
"""`embedding:local` and `embedding:local:PATH` embed by a model on this machine."""


@dataclass(frozen=True)
class Embedded:
    """A text's vector, of length 1.

    Attributes:
        vector: [width]; None where there is none.
        reason: why not.
        status: likewise, as in a verdict.
        tokens_in: paid for by this call.
    """

    vector: Vector | None
    reason: str = ""
    status: Status = "scored"
    tokens_in: int = 0


class Embedder(Protocol):
    """Gives texts vectors whose cosines tell how alike they are."""

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """One a text, in order."""


class ServerEmbedder:
    """`/v1/embeddings` of OpenAI or a compatible server, one text a request.

    Args:
        model: as the server calls it.
        setup: the server's address, price, budget and where replies are kept.
        timeout: seconds to wait for a reply.
    """

    def __init__(self, model: str, setup: Setup, timeout: float = TIMEOUT) -> None:
        self.model = model
        self.client = Client(f"embedding:{model}", setup, timeout)

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """One a text, in order; the same text is sent once."""
        requests = [{"model": self.model, "input": text, "encoding_format": "float"} for text in texts]
        return [_embedded(reply) for reply in self.client.replies(requests, _send, 0)]


def _send(client: Any, request: Request) -> Answer:
    reply = client.embeddings.create(**request)
    values, usage = np.asarray(reply.data[0].embedding, dtype="<f4"), reply.usage
    # Kept in a third of the room that its digits would take.
    return Answer(base64.b64encode(values.tobytes()).decode(), (usage.prompt_tokens, 0) if usage else None)


def _embedded(reply: Reply) -> Embedded:
    if reply.kept is None:
        return Embedded(None, reply.reason, reply.status, reply.tokens_in)
    return _unit(np.frombuffer(base64.b64decode(reply.kept["content"]), dtype="<f4"), reply.tokens_in)


def _unit(values: Any, tokens_in: int = 0) -> Embedded:
    vector = np.asarray(values, np.float64)
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or not norm:
        return Embedded(None, "its embedding has no direction", "unparsed", tokens_in)
    return Embedded(vector / norm, tokens_in=tokens_in)


class LocalEmbedder:
    """The mean over a text's tokens of what a model's middle block puts out, the text standing alone.

    A causal model's last blocks turn to the next token; the middle ones hold more of what was said (Skean et al. 2025,
    Layer by Layer: Uncovering Hidden Representations in Language Models).
    """

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        self.layer = len(lm.blocks) // 2

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """One a text, in order; texts without a token, or longer than the model's context, have none."""
        tokens = [[int(t) for t in self.lm.tokenizer(text)["input_ids"]] for text in texts]
        most = self.lm.context or max(map(len, tokens), default=0)
        fitting = [i for i, ids in enumerate(tokens) if 0 < len(ids) <= most]
        means = dict(zip(fitting, self._means([tokens[i] for i in fitting]), strict=True))
        return [
            _unit(means[i]) if i in means else Embedded(None, f"it has {len(ids)} tokens, not 1 to {most}", "unparsed")
            for i, ids in enumerate(tokens)
        ]

    def _means(self, sequences: Sequence[Sequence[int]]) -> list[Any]:
        import torch

        from comparisons.engine.memory import halving
        from comparisons.engine.plan import batches

        means: dict[int, Any] = {}
        while len(means) < len(sequences):
            rest = [i for i in range(len(sequences)) if i not in means]
            with halving(self.lm), torch.no_grad():
                for batch in batches([len(sequences[i]) for i in rest], 0, self.lm.token_budget):
                    chosen = [rest[i] for i in batch]
                    means.update(zip(chosen, self._batch([sequences[i] for i in chosen]), strict=True))
        return [means[i] for i in range(len(sequences))]

    def _batch(self, sequences: Sequence[Sequence[int]]) -> list[Any]:
        """Padded on the right, where causality hides the pads from every token."""
        import torch

        from comparisons.engine.hooks import captured, stopping_after

        longest = max(map(len, sequences))
        ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in sequences], device=self.lm.device)
        lengths = torch.tensor([len(row) for row in sequences], device=self.lm.device)[:, None]
        position = torch.arange(longest, device=self.lm.device)
        mask = (position < lengths).long()
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": position.expand_as(ids)}
        with (
            captured(self.lm, [self.layer], lambda hidden, layer: hidden[:, position.to(hidden.device)]) as states,
            stopping_after(self.lm, self.layer),
        ):
            self.lm.model(**inputs, use_cache=False)
        kept = states[self.layer].double() * mask[:, :, None].to(states[self.layer].device)
        return list((kept.sum(dim=1).cpu() / lengths.cpu()).numpy())


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
        verdicts: list[Verdict] = []
        for i, each in enumerate(asked):
            scale = scales[each.behavior]
            verdict = _verdict(scale, vectors[i]) if isinstance(scale, Scale) else scale
            verdicts.append(replace(verdict, tokens_in=verdict.tokens_in + self._paid))
            self._paid = 0
        return verdicts

    def _embed(self, texts: Sequence[str]) -> list[Embedded]:
        """Servers refuse empty texts."""
        filled = [i for i, text in enumerate(texts) if text.strip()]
        embeddings = [Embedded(None, "the answer is empty", "unparsed")] * len(texts)
        for i, embedded in zip(filled, self.embedder.embed([texts[i] for i in filled]), strict=True):
            embeddings[i] = embedded
        return embeddings

    def _scale(self, name: str) -> Scale | Verdict:
        """The behavior's scale, or the verdict on all its answers where there is none."""
        if name not in self._scales:
            sides = exemplars(self.behaviors.get(name), name)
            embeddings = self._embed([text for side in DIRECTIONS for text in sides[side]])
            self._paid += sum(each.tokens_in for each in embeddings)
            missing = next((each for each in embeddings if each.vector is None), None)
            if missing is not None:
                return Verdict(None, f"an exemplar has no embedding: {missing.reason}", status=missing.status)
            vectors = [each.vector for each in embeddings if each.vector is not None]
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
    sentences: dict[str, list[str]] = {
        side: list(dict.fromkeys(sides.get(side, ())))[:EXEMPLARS] for side in DIRECTIONS
    }
    if min(map(len, sentences.values())) < 2:
        raise CompareError(
            f"the judge 'embedding' has no exemplars of the behavior '{name}': write sentences of both sides to its "
            'behavior.json as {"truth": {"pos": […], "neg": […]}}, or take another judge.'
        )
    return sentences


def _choices(behavior: Behavior) -> Mapping[str, Sequence[str]]:
    sides: dict[str, list[str]] = {side: [] for side in DIRECTIONS}
    for item in behavior.test:
        texts = {choice.letter: choice.text for choice in item.choices}
        if item.parsed:
            for side, letter in zip(DIRECTIONS, (item.matching, item.contrast), strict=True):
                sides[side].append(texts[letter])
    return sides


def _left_out(side: Vector) -> Vector:
    """[exemplars] each one's mean cosine to the others of its side."""
    similar = side @ side.T
    rest: Vector = (similar.sum(axis=1) - np.diag(similar)) / (len(side) - 1)
    return rest


def _verdict(scale: Scale, embedded: Embedded) -> Verdict:
    if embedded.vector is None:
        return Verdict(None, embedded.reason, "", embedded.status, embedded.tokens_in)
    difference, score = scale.score(embedded.vector)
    found, low, high = (number(value, signed=True) for value in (difference, scale.low, scale.high))
    reason = f"difference {found}; the exemplars' own {low} and {high}"
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
