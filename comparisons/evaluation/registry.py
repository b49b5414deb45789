"""Names to evaluation classes: from comparisons/evaluations/, from a folder, and from entry points; those of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from comparisons.evaluation.interface import Evaluation
from comparisons.experiment.specification import SettingTexts, Specification
from comparisons.method.registry import Described
from comparisons.method.settings import parse_settings, parse_values
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import CompareError, described
from comparisons.util.plugins import Kind, foreign
from comparisons.util.table import Section

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", bound=Evaluation)

EVALUATIONS = Kind(
    word="evaluation",
    base=Evaluation,  # type: ignore[type-abstract]
    public="comparisons.evaluation.Evaluation",
    group="comparisons.evaluations",
    package="comparisons.evaluations",
    option="--evaluations",
)


class EvaluationRegistry(Described[Evaluation]):
    """The known evaluations.

    Args:
        folder: with further ones, one file each.

    Raises:
        CompareError: there is no such folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(EVALUATIONS, folder)


def evaluations_of(spec: Specification) -> dict[str, Evaluation]:
    """The evaluations that a specification asks for, by name, in the order in which cells are asked them.

    The project's own have options of their own; others are named by `--evaluate`, and imported only then.

    Raises:
        CompareError: one is unknown, broken, or named where it has an option; a setting is unknown or not valid.
    """
    registry = EvaluationRegistry(spec.evaluations)
    made = {name: _own(registry.get(name), name, spec) for name in registry.own()}
    for name in map(registry.known, spec.evaluate):
        if name in made:
            raise CompareError(f"--evaluate {name}: it has an option of its own, see compare run --help.")
        made[name] = parse_settings(registry.get(name), settings_of(name, spec.settings), name)
    asked = {name: evaluation for name, evaluation in made.items() if evaluation is not None}
    return dict(sorted(asked.items(), key=lambda pair: (pair[1].place, pair[0])))


def evaluation_of(spec: Specification, kind: type[Asked]) -> Asked:
    """The evaluation of a kind that a specification asks for, with its settings."""
    return next(each for each in evaluations_of(spec).values() if isinstance(each, kind))


def is_own(evaluation: Evaluation) -> bool:
    """Whether an evaluation comes along with the program."""
    return type(evaluation).__module__.startswith(f"{EVALUATIONS.package}.")


@contextmanager
def calling(name: str, evaluation: Evaluation) -> Iterator[None]:
    """Runs an evaluation's own code: what fails in a plugin is a line that names it."""
    with foreign(f"the evaluation {name}"):
        try:
            yield
        except Exception as error:
            if is_own(evaluation) or isinstance(error, CompareError):
                raise
            raise CompareError(f"the evaluation {name} failed: {described(error)}") from error


def sections_of(spec: Specification, rows: Sequence[SummaryRow]) -> dict[str, Section]:
    """What plugins say in the report, by evaluation, as data: a report is written again without them."""
    found: dict[str, Section] = {}
    for name, evaluation in evaluations_of(spec).items():
        if not is_own(evaluation):
            try:
                with calling(name, evaluation):
                    section = evaluation.section(name, rows)
            except CompareError as error:
                # The run's numbers are not to be lost over it.
                log.warning("no section in the report: %s", error)
                continue
            found |= {name: section} if section is not None else {}
    return found


def _own(cls: type[Evaluation], name: str, spec: Specification) -> Evaluation | None:
    """A built-in evaluation as its options and settings have it; None where it is off."""
    made = cls.of(spec)
    values = parse_values(cls, settings_of(name, spec.settings), name) if made is not None else {}
    return replace(made, **values) if values else made  # type: ignore[type-var]


def settings_of(name: str, settings: SettingTexts) -> dict[str, str]:
    """An evaluation's settings, as typed; raises CompareError where one has several values."""
    given = settings.get(name, {})
    several = next((field for field, values in given.items() if len(values) > 1), None)
    if several is not None:
        raise CompareError(f"--set {name}.{several} has several values: an evaluation takes one, for all cells.")
    return {field: values[0] for field, values in given.items()}
