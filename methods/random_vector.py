"""Control: a random direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import Fit, read_vectors, write_vectors
from methods.caa import CAA


@dataclass(frozen=True)
class RandomVector(CAA):
    """Control: add a random direction of the norm that CAA's vector has.

    A fixed random vector does move items: what it moves a behavior by is what a fitted vector must beat.
    """

    role: ClassVar[Literal["method", "control"]] = "control"
    seeded: ClassVar[bool] = True

    def fit(self, fit: Fit) -> None:
        import torch

        super().fit(fit)
        vectors = read_vectors(fit.out)
        noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(fit.seed))
        write_vectors(fit.out, noise * (vectors.norm(dim=-1) / noise.norm(dim=-1))[:, None])
