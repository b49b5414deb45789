"""Control: CAA on shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import Fit, shuffled
from methods.caa import CAA


@dataclass(frozen=True)
class ShuffledCAA(CAA):
    """Control: CAA's vector from pairs whose labels are shuffled: half of them say the opposite."""

    role: ClassVar[Literal["method", "control"]] = "control"
    seeded: ClassVar[bool] = True

    def fit(self, fit: Fit) -> None:
        super().fit(shuffled(fit))
