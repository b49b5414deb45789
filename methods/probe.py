"""The normal of a linear probe (Alain and Bengio 2016; for steering, Li et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comparisons.method import (
    Fit,
    PlacedVector,
    Reading,
    by_measure,
    pair_activations,
    scaled_like_difference,
    write_vectors,
)


@dataclass(frozen=True)
class Probe(PlacedVector):
    """Add the normal of a logistic regression that tells matching answers from contrast answers.

    Source: Li et al. 2023 (Inference-Time Intervention), section 3.1, "Probe Weight Direction", here on the residual
    stream after each block, at the answer letter. Activations are centred and scaled by one number a layer before
    scikit-learn's logistic regression, so that the penalty means the same at every layer and the normal keeps its
    direction; the normal gets the norm of the mean difference.

    Attributes:
        layer: 0-based block; "auto" is chosen on dev.
        inverse_penalty: C of scikit-learn's LogisticRegression: the larger, the less the weights are held small.
        positions: to which tokens it is added, as in `ablate`.
        read: the "letter", the "answer", "auto" (by what the run measures), or "prompt_end" under two system prompts.
    """

    inverse_penalty: float = 1.0
    read: Reading = by_measure("auto")

    seeded: ClassVar[bool] = False

    def fit(self, fit: Fit) -> None:
        import numpy as np
        import torch
        from sklearn.linear_model import LogisticRegression

        pairs = pair_activations(fit, self.read)
        labels = np.tile([1, 0], len(pairs))
        normals = []
        for layer in range(pairs.shape[2]):
            activations = pairs[:, :, layer].reshape(2 * len(pairs), -1).double().numpy()
            centred = activations - activations.mean(axis=0)
            probe = LogisticRegression(C=self.inverse_penalty, max_iter=1000, random_state=fit.seed)
            probe.fit(centred / max(centred.std(), 1e-12), labels)
            normals.append(torch.from_numpy(probe.coef_[0]))
        write_vectors(fit.out, scaled_like_difference(torch.stack(normals), pairs))
