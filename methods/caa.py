"""Contrastive Activation Addition (Rimsky et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from comparisons.method import (
    CompareError,
    Fit,
    Intervention,
    Item,
    Need,
    PlacedVector,
    Reading,
    Use,
    by_measure,
    contrast_means,
    file_digest,
    read_vector,
    reading,
    unit,
    use_only,
    vectors_of_file,
    write_vectors,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CAA(PlacedVector):
    """Add the mean activation difference of contrast pairs at one layer.

    Source: Rimsky et al. 2024, section 3: v_L is the mean over pairs of the residual stream after block L at the
    answer letter, matching minus contrast; it is added from the last prompt token on.

    Attributes:
        layer: 0-based block; "auto" is chosen on dev.
        fit_on: "base" reads the activations on the unchanged model; "stack" with the stack's elements to the left.
        normalize: "behaviors" scales the vector at each layer to the mean norm over the run's behaviors.
        debias: "letter" reads pairs in both orders, and projects the direction between the letters out of the vector.
        read: the "letter", the "answer", "auto" (by what the run measures), or "prompt_end" under two system prompts.
        vector_layer: the layer whose vector is added; "same" takes that of the layer where it is added.
        vector_from: a file to use in place of a fit: safetensors with a tensor `layer_N` [width] for each layer.
        positions: to which tokens it is added, as in `ablate`.
    """

    fit_on: Literal["base", "stack"] = "base"
    normalize: Literal["none", "behaviors"] = "none"
    debias: Literal["none", "letter"] = "none"
    read: Reading = by_measure("auto")
    vector_layer: int | Literal["same"] = use_only("same")
    vector_from: Path | None = None
    seeded: ClassVar[bool] = False
    swept: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[Need]:
        below: frozenset[Need] = frozenset({"below"}) if self.fit_on == "stack" else frozenset()
        return below | (frozenset({"siblings"}) if self.normalize == "behaviors" else frozenset())

    def fit_settings(self) -> dict[str, Any]:
        settings = super().fit_settings()
        if self.vector_from is not None and self.vector_from.is_file():
            settings["vector_from"] = file_digest(self.vector_from)  # by its path a changed file would meet an old fit
        return settings

    def fit(self, fit: Fit) -> None:
        import torch

        if self.vector_from is not None:
            write_vectors(fit.out, vectors_of_file(self.vector_from, fit.lm))
            return
        vectors = self._vectors(fit)
        if self.normalize == "behaviors":
            siblings = [replace(fit, behavior=sibling, exchanged=frozenset()) for sibling in fit.siblings.values()]
            norms = torch.stack([each.norm(dim=-1) for each in (vectors, *map(self._vectors, siblings))])
            vectors = vectors * (norms.mean(dim=0) / norms[0].clamp(min=1e-12))[:, None]
        write_vectors(fit.out, vectors)

    def _vectors(self, fit: Fit) -> torch.Tensor:
        items: Sequence[Item] = fit.behavior.train
        if self.debias == "letter" and reading(fit, self.read) != "letter":
            raise CompareError("caa.debias=letter is for pairs read at a letter: leave it out, or set caa.read=letter.")
        if self.debias == "letter":
            items = [item for given in items for item in (given, swapped(given)) if given.parsed]
            if not items:
                raise CompareError(f"caa.debias=letter: no pair of {fit.behavior.name} can be read in both orders.")
        means = contrast_means(fit, items, self.read)
        if self.debias == "none" or means.letter is None:
            return means.matching.float()
        letter = unit(means.letter)
        return (means.matching - (means.matching * letter).sum(dim=-1, keepdim=True) * letter).float()

    def intervene(self, use: Use) -> Intervention:
        source = self.chosen_layer() if self.vector_layer == "same" else self.vector_layer
        vector = read_vector(use.fitted, source)
        if not bool(vector.isfinite().all()):
            raise CompareError(f"{self.vector_from or 'the fit'} holds no vector of layer {source}: choose another.")
        return self.adds(vector, use.signed)


def swapped(item: Item) -> Item:
    """The item with the texts of its two choices exchanged."""
    shown = item.present("swapped")
    return replace(item, question=shown.question, matching=shown.matching, contrast=shown.contrast)
