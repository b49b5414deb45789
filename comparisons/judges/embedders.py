"""Texts to vectors: by a server's embeddings, or by the mean of a local model's hidden states."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from comparisons.judges.client import TIMEOUT, Answer, Client, Reply, Request
from comparisons.judges.interface import Setup
from comparisons.results.status import Status

if TYPE_CHECKING:
    from comparisons.model.lm import LM

Vector = NDArray[np.float64]


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
    found = client.embeddings.create(**request)
    values, usage = np.asarray(found.data[0].embedding, dtype="<f4"), found.usage
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

        found: dict[int, Any] = {}
        while len(found) < len(sequences):
            rest = [i for i in range(len(sequences)) if i not in found]
            with halving(self.lm), torch.no_grad():
                for batch in batches([len(sequences[i]) for i in rest], 0, self.lm.token_budget):
                    chosen = [rest[i] for i in batch]
                    found.update(zip(chosen, self._batch([sequences[i] for i in chosen]), strict=True))
        return [found[i] for i in range(len(sequences))]

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
