"""Control: finetuning on shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import Fit, shuffled
from methods.sft import SFT


@dataclass(frozen=True)
class ShuffledSFT(SFT):
    """Control: finetune on pairs whose labels are shuffled: half of them say the opposite."""

    role: ClassVar[Literal["method", "control"]] = "control"

    def fit(self, fit: Fit) -> None:
        super().fit(shuffled(fit))
