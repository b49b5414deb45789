"""Names to evaluation classes: from comparisons/evaluations/, from a folder, and from entry points; those of a run."""

from __future__ import annotations

from pathlib import Path

from comparisons.evaluation.interface import Evaluation
from comparisons.experiment.specification import Specification
from comparisons.util.plugins import Kind, Plugins

EVALUATIONS = Kind(
    word="evaluation",
    base=Evaluation,  # type: ignore[type-abstract]
    public="comparisons.evaluation.Evaluation",
    group="comparisons.evaluations",
    package="comparisons.evaluations",
    option="--evaluations",
)


class EvaluationRegistry(Plugins[Evaluation]):
    """The known evaluations.

    Args:
        folder: with further ones, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(EVALUATIONS, folder)


def evaluations_of(spec: Specification) -> dict[str, Evaluation]:
    """The evaluations that a specification asks for, by name, in the order in which cells are asked them."""
    registry = EvaluationRegistry()
    made = {name: registry.get(name).of(spec) for name in registry.own()}
    asked = {name: evaluation for name, evaluation in made.items() if evaluation is not None}
    return dict(sorted(asked.items(), key=lambda pair: (pair[1].place, pair[0])))
