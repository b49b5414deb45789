"""Ranks the vectors of a behavior's done cells among random ones; the journal keeps what those do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from comparisons.engine.activations import contrast_differences
from comparisons.evaluation.measures import item_measures
from comparisons.evaluation.questions import questions
from comparisons.evaluation.ranks import RandomShifts, random_key, random_shifts, sharing_key
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Cell, Plan
from comparisons.intervention import Intervention
from comparisons.running.sinks import ResultSink
from comparisons.util.errors import described

if TYPE_CHECKING:
    import torch


class Ranking:
    """Puts random directions in the place of vectors.

    Args:
        plan: the run.
        fitter: where the behavior's methods were fitted.
        folder: where what they do goes.
        build: the intervention of a cell.
    """

    def __init__(self, plan: Plan, fitter: Fitter, folder: ResultSink, build: Callable[[Cell], Intervention]) -> None:
        self.plan, self.fitter, self.folder, self.build = plan, fitter, folder, build

    def waiting(self, cells: Sequence[Cell]) -> list[Cell]:
        """The done cells that have no rank yet; none while the baseline isn't done."""
        baseline = next(cell.key for cell in cells if not cell.elements)
        done = [c for c in cells if c.elements and self.folder.done(c.key) and not self.folder.done(random_key(c.key))]
        return done if self.folder.done(baseline) else []

    def rank(self, cells: Sequence[Cell]) -> None:
        """Evaluates random directions in the place of every waiting cell's vectors, those of equal norm once."""
        baseline = next(cell.key for cell in cells if not cell.elements)
        plain = item_measures(self.folder.rows(baseline), "choices")
        asked = questions(self.plan.asked(self.fitter.behavior.name), self.plan.orders)
        known: dict[object, RandomShifts] = {}
        for cell in self.waiting(cells):
            try:
                found = self.build(cell).simplified()
                key, info = sharing_key(found), dict[str, Any]()
                if found.edits:
                    if key not in known:
                        known[key] = random_shifts(
                            self.fitter.lm, asked, plain, found, self.plan.spec.seed, self._differences
                        )
                    info = {"shifts": list(known[key].shifts), "matched": list(known[key].matched)}
                self.folder.commit(random_key(cell.key), [], info)
            except Exception as error:
                self.folder.commit(random_key(cell.key), [], {"error": described(error)})

    @cache  # noqa: B019 - lives as long as the behavior's run
    def _differences(self, layer: int) -> torch.Tensor:
        return contrast_differences(self.fitter.lm, self.fitter.behavior.train, [layer])[:, 0]
