"""Directional ablation (Arditi et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import (
    CompareError,
    Edit,
    Fit,
    Intervention,
    Method,
    Reading,
    Use,
    by_measure,
    pair_activations,
    read_vectors,
    unit,
    use_only,
    write_vectors,
)


@dataclass(frozen=True)
class Ablate(Method):
    """Project the pairs' mean difference out of the residual stream, at one layer or at all.

    Sources: Arditi et al. 2024 (Refusal is mediated by a single direction), section 2.4: x' = x − s (x·r̂) r̂, with r the
    mean difference of activations and s the strength. It has no sign: both directions get the same change. With
    `to=side` the component becomes what it is on average in the answers of the wanted side: x' = x − s (x·r̂ − c) r̂
    (Marshall et al. 2024, Refusal in LLMs is an affine function, section 3); that has a direction.

    Attributes:
        layer: 0-based block, or "all".
        vector_layer: the layer whose direction is taken out everywhere; "same" takes each layer's own.
        to: what the component becomes: "zero", or the mean of the wanted "side".
        positions: which tokens: prompt_end, all, last, answer, thought, prompt_first:k or response_first:k.
        read: the "letter", the "answer", "auto" (by what the run measures), or "prompt_end" under two system prompts.
    """

    layer: int | Literal["all"] = use_only("all")
    vector_layer: int | Literal["same"] = use_only("same")
    to: Literal["zero", "side"] = use_only("zero")
    positions: str = use_only("prompt_end")
    read: Reading = by_measure("auto")

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "behavior"
    seeded: ClassVar[bool] = False

    def fit_passes(self) -> float:
        return 2.0 if self.read == "prompt_end" else 1.0

    def fit(self, fit: Fit) -> None:
        write_vectors(fit.out, pair_activations(fit, self.read).double().mean(dim=0).transpose(0, 1))

    def intervene(self, use: Use) -> Intervention:
        means = read_vectors(use.fitted)  # [layers, 2, width], the matching answers' first
        layers = range(len(means)) if self.layer == "all" else [self.layer]
        edits = []
        for layer in layers:
            source = layer if self.vector_layer == "same" else self.vector_layer
            if not (0 <= layer < len(means) and 0 <= source < len(means)):
                raise CompareError(f"ablate: layers {layer} and {source} must be from 0 to {len(means) - 1}.")
            direction = unit(means[source, 0] - means[source, 1])
            edits.append(Edit(layer, direction, "ablate", use.strength, self.positions))
            if self.to == "side":
                mean = means[layer, 0 if use.direction == "pos" else 1] @ direction
                edits.append(Edit(layer, mean * direction, "add", use.strength, self.positions))
        return Intervention(edits=tuple(edits))
