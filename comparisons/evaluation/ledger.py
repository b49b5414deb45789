"""What is told of a cell beside its numbers: what its fits rest on, and its vector's liking for a letter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from comparisons.engine.activations import contrast_means
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.intervention import Intervention, stack
from comparisons.util.artifacts import MANIFEST
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch


class Ledger:
    """What the fits of one behavior's stacks rest on, the same whether they were made now or before.

    Args:
        fitter: where they are fitted.
    """

    def __init__(self, fitter: Fitter) -> None:
        self.fitter = fitter
        self._sizes: dict[object, int] = {}

    def of(self, elements: Sequence[Element]) -> dict[str, int]:
        """Training pairs, tokens of the fits and bytes of their artifacts, by the summary's keys.

        Args:
            elements: a stack's, with their settings chosen; they have been fitted.
        """
        fitted = [element.method for element in elements if element.method.fit_passes()]
        key = tuple((e.name, repr(e.method.fit_settings()), e.direction) for e in elements)
        if key not in self._sizes:
            self._sizes[key] = self._stored_bytes(elements)
        return {
            "examples": len(self.fitter.behavior.train) if fitted else 0,
            "fit_tokens": round(sum(method.fit_passes() * self.fitter.pass_tokens(method) for method in fitted)),
            "stored_bytes": self._sizes[key],
        }

    def _stored_bytes(self, elements: Sequence[Element]) -> int:
        """Size of the artifacts behind a stack, their manifests aside."""
        below, size = Intervention(), 0
        for element in elements:
            artifact = self.fitter.fitted(element, below)
            if artifact is not None:
                files = [path for path in artifact.path.rglob("*") if path.is_file() and path.name != MANIFEST]
                size += sum(path.stat().st_size for path in files)
            below = stack((below, self.fitter.use(element, artifact)))
        return size


class Letters:
    """The letter's direction at each block of one model, from one behavior's training pairs.

    Args:
        fitter: model and behavior.
    """

    def __init__(self, fitter: Fitter) -> None:
        self.fitter = fitter

    @cached_property
    def directions(self) -> torch.Tensor | None:
        """Second to first letter at the blocks' outputs on the unchanged model, [layers, width] float64.

        None where all pairs match under one letter, too many exceed the model's context, or no letters are measured.
        """
        if self.fitter.measure == "answers":
            return None
        try:
            return contrast_means(self.fitter.lm, self.fitter.behavior.train).letter
        except CompareError:
            return None

    def cosine(self, found: Intervention) -> float | None:
        """The cosine of an intervention's vector, as it is added, with the direction towards the first letter.

        None unless the intervention has one edit, which adds a vector to a block's output.
        """
        edits = found.simplified().edits
        if len(edits) != 1 or edits[0].site != "block" or not edits[0].operation.startswith("add"):
            return None
        (edit,) = edits
        vector = edit.multiplier * edit.vector.detach().to("cpu").double()
        if vector.dim() != 1 or self.directions is None:
            return None
        letter = self.directions[edit.layer]
        scale = float(vector.norm() * letter.norm())
        return float(vector @ letter) / scale if scale else None
