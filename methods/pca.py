"""A principal component of contrast activations (Zou et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.method import (
    CompareError,
    Fit,
    PlacedVector,
    Reading,
    by_measure,
    pair_activations,
    scaled_like_difference,
    write_vectors,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PCA(PlacedVector):
    """Add a principal component of the pairs' activation differences, or of their activations.

    Source: Zou et al. 2023 (Representation Engineering), section 3.1, "LAT": the first component of differences, each
    taken both ways, so that their mean is zero and the component can be the mean difference itself. With `centre` the
    mean difference is subtracted first, and the component is what the pairs differ in. The component gets the
    norm of the mean difference, and the side on which matching answers lie.

    Attributes:
        layer: 0-based block; "auto" is chosen on dev.
        component: counted from 1, by falling variance.
        of: "differences" of pairs, or "activations" of all answers, which are always centred.
        centre: whether to subtract the mean of the differences.
        positions: to which tokens it is added, as in `ablate`.
        read: the "letter", the "answer", "auto" (by what the run measures), or "prompt_end" under two system prompts.
    """

    component: int = 1
    of: Literal["differences", "activations"] = "differences"
    centre: bool = False
    read: Reading = by_measure("auto")

    seeded: ClassVar[bool] = False

    def fit(self, fit: Fit) -> None:
        import torch

        pairs = pair_activations(fit, self.read)
        rows = pairs[:, 0] - pairs[:, 1] if self.of == "differences" else pairs.flatten(0, 1)
        if self.centre or self.of == "activations":
            rows = rows - rows.mean(dim=0)
        components = torch.stack([self._component(rows[:, layer]) for layer in range(rows.shape[1])])
        write_vectors(fit.out, scaled_like_difference(components, pairs))

    def _component(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        if not 1 <= self.component <= min(rows.shape):
            raise CompareError(f"pca.component={self.component} is out of range: use 1 to {min(rows.shape)}.")
        component: torch.Tensor = torch.linalg.svd(rows.double(), full_matrices=False).Vh[self.component - 1]
        return component
