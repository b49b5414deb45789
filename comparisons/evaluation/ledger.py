"""The budget ledger: what a cell took beside time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.intervention import Intervention, stack
from comparisons.util.artifacts import MANIFEST


class Ledger:
    """What the fits of one behavior's stacks rest on, the same whether they were made now or before.

    Args:
        fitter: where they are fitted.
    """

    def __init__(self, fitter: Fitter) -> None:
        self.fitter = fitter
        self._sizes: dict[object, int] = {}

    @cached_property
    def pair_tokens(self) -> int:
        """Tokens of one plain pass over the training pairs: each prompt once, with its two answers."""
        lm = self.fitter.lm
        items = self.fitter.behavior.train
        return sum(len(lm.choice_prompt(item.question, (item.matching, item.contrast)).ids) + 2 for item in items)

    def of(self, elements: Sequence[Element]) -> dict[str, int]:
        """Training pairs, tokens of the fits and bytes of their artifacts, by the summary's keys.

        Args:
            elements: a stack's, with their settings chosen; they have been fitted.
        """
        passes = sum(element.method.fit_passes() for element in elements)
        key = tuple((e.name, repr(e.method.fit_settings()), e.direction) for e in elements)
        if key not in self._sizes:
            self._sizes[key] = self._stored_bytes(elements)
        return {
            "examples": len(self.fitter.behavior.train) if passes else 0,
            "fit_tokens": round(passes * self.pair_tokens) if passes else 0,
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
