"""Traces: the projection of every token, at every layer, on that layer's vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from comparisons.model.lm import LM

LIMIT = 98.0
"""Percentile of the absolute values at which colours are full: a first token's outlier doesn't fade all others."""

UNITS = {False: "h·v/|v|, in units of the residual stream", True: "cosine of h and v"}


@dataclass(frozen=True)
class Trace:
    """Projections of one sequence.

    Attributes:
        model: its name.
        vector: what was projected on, in words.
        cosine: whether values are cosines, or lengths in the residual stream.
        layers: 0-based blocks, ascending.
        ids: the tokens.
        pieces: the text that each adds.
        prompt_tokens: how many of them are the prompt; the rest is the answer.
        values: [layers, tokens] float32.
    """

    model: str
    vector: str
    cosine: bool
    layers: tuple[int, ...]
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    prompt_tokens: int
    values: np.ndarray

    @property
    def unit(self) -> str:
        """The unit of the values, in words."""
        return UNITS[self.cosine]

    @property
    def limit(self) -> float:
        """The absolute value at which colours are full."""
        return color_limit(self.values)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "model": self.model,
            "vector": self.vector,
            "unit": self.unit,
            "layers": list(self.layers),
            "prompt_tokens": self.prompt_tokens,
            "tokens": [{"id": i, "text": text} for i, text in zip(self.ids, self.pieces, strict=True)],
            "projections": self.values.astype(float).tolist(),
        }


@dataclass(frozen=True)
class Along:
    """What to project on.

    Attributes:
        vectors: layer -> [width].
        name: the vectors, in words.
        cosine: see `Trace`.
    """

    vectors: Mapping[int, torch.Tensor]
    name: str
    cosine: bool = False


def make_trace(lm: LM, tokens: Sequence[int], prompt_tokens: int, along: Along) -> Trace:
    """Projects one sequence.

    Args:
        lm: the model.
        tokens: token ids.
        prompt_tokens: how many of them are the prompt.
        along: the vectors.
    """
    from comparisons.engine.inspection import projections
    from comparisons.interpret.words import pieces

    (values,) = projections(lm, [tokens], along.vectors, along.cosine)
    return Trace(
        model=lm.name,
        vector=along.name,
        cosine=along.cosine,
        layers=tuple(sorted(along.vectors)),
        ids=tuple(tokens),
        pieces=tuple(pieces(lm, tokens)),
        prompt_tokens=prompt_tokens,
        values=values,
    )


def color_limit(*values: np.ndarray) -> float:
    """The absolute value at which colours are full, one for several arrays; NaNs don't count."""
    known = np.abs(np.concatenate([v[np.isfinite(v)] for v in values]))
    return float(np.percentile(known, LIMIT)) or 1.0 if known.size else 1.0
