"""The interface of an evaluation: what cells are asked, the numbers that their rows give, and what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from comparisons.evaluation.measures import ItemMeasures, Paired, Row, item_measures, paired, with_seeds
from comparisons.evaluation.tally import Tally
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element, Specification
from comparisons.intervention import Intervention
from comparisons.judges.judge_set import JudgeSet
from comparisons.model.lm import LM
from comparisons.results.schema import Noise
from comparisons.results.summary import SummaryRow
from comparisons.util.plugins import first_line
from comparisons.util.table import NOTHING, Column, Section, Table, interval, number
from comparisons.util.table import Row as Line

Rows = Sequence[Row]

NOISE = "numerical_noise"
"""Where what is kept beside a baseline's rows has the noise of its p_match."""


@dataclass(frozen=True)
class CellToAsk:
    """A cell whose intervention is built.

    Attributes:
        elements: its stack's, with their settings chosen.
        intervention: theirs.
        fields: what is the same in all of its result rows: "model", "behavior", "cell", "method", "direction" (None for
            the baseline), "strength" and "layer"; "seed" where its fits have several.
    """

    elements: Sequence[Element]
    intervention: Intervention
    fields: Mapping[str, Any]


@dataclass
class CellResult:
    """What an evaluation found of one cell.

    Attributes:
        rows: its result rows, in the order in which they were asked.
        info: what is kept beside them, for the numbers: JSON values.
        error: why the cell has no rows, where others have; it fails the cell.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    def add(self, more: CellResult) -> None:
        """Appends what was found further of the same cell."""
        self.rows += more.rows
        self.info |= more.info
        self.error = self.error or more.error


def result_row(
    cell: CellToAsk, evaluation: str, item: str, order: str = "given", template: str | None = None, **values: Any
) -> dict[str, Any]:
    """A result row, with the columns that every one has.

    Args:
        cell: whose it is.
        evaluation: the evaluation's name; a part of it goes on behind a colon.
        item: what was asked; with the order, no other row of the cell and evaluation has it.
        order: in which it was asked.
        template: what makes items depend on each other, for intervals.
        values: what was found; those of lettered choices are None unless they are given.
    """
    return row_of(cell.fields, evaluation, item, order, template, **values)


def row_of(
    fields: Mapping[str, Any], evaluation: str, item: str, order: str, template: str | None, **values: Any
) -> dict[str, Any]:
    """As `result_row`, of the fields that are the same in all rows of a cell."""
    choices = dict.fromkeys(("matching", "contrast", "logp_matching", "logp_contrast", "p_match"))
    named = {"evaluation": evaluation, "item": item, "order": order, "template": template}
    return {**fields, **named, **choices, **values}


@dataclass(frozen=True)
class Asking:
    """With what cells are asked.

    Attributes:
        plan: the run, or its part on this model.
        lm: the model, without any intervention.
        fitters: by behavior, where its methods were fitted.
        judges: of free answers; None where another process has them, or none are asked for.
        baseline: reads the result rows of the behavior's baseline; None where it isn't done yet.
        evaluation: the name of the evaluation that asks.
    """

    plan: Plan
    lm: LM
    fitters: Mapping[str, Fitter]
    judges: JudgeSet | None = None
    baseline: Callable[[], Rows | None] = lambda: None
    evaluation: str = ""


class MeasuredRows:
    """The result rows of a cell, with what is made of them.

    Args:
        rows: of every evaluation.
        info: what is kept beside them.
    """

    def __init__(self, rows: Rows, info: Mapping[str, Any]) -> None:
        self.rows, self.info = rows, info
        self._measures: dict[str, ItemMeasures] = {}

    def of(self, evaluation: str) -> list[Row]:
        """The rows of an evaluation, and of its parts, whose names go on behind a colon."""
        parts = f"{evaluation}:"
        return [r for r in self.rows if r["evaluation"] == evaluation or r["evaluation"].startswith(parts)]

    @property
    def first_fit(self) -> MeasuredRows:
        """Without the answers of further seeds' fits: what is asked of one fit is held against its own."""
        first = next((row["seed"] for row in self.rows if "seed" in row), None)
        return MeasuredRows([row for row in self.rows if row.get("seed", first) == first], self.info)

    def measures(self, evaluation: str) -> ItemMeasures:
        """Lettered choices, averaged over each item's orders."""
        if evaluation not in self._measures:
            self._measures[evaluation] = item_measures(self.rows, evaluation)
        return self._measures[evaluation]

    def against(self, baseline: MeasuredRows, name: str, noise: Noise | None, other: str | None = None) -> Paired:
        """Lettered choices of an evaluation against the baseline's, or of the other in it, paired by item."""
        plain = baseline.measures(name if other is None else other)
        return with_seeds(paired(self.measures(name), plain, self.templates(name), noise), self.rows, name)

    def templates(self, evaluation: str) -> dict[str, str | None]:
        """Item -> the template that it shares with others, as intervals take them for `clusters`."""
        return {row["item"]: row.get("template") for row in self.rows if row["evaluation"] == evaluation}


@dataclass(frozen=True)
class MeasuredCell:
    """A cell that is done, when its numbers are made.

    Attributes:
        plan: the run, or its part on this model.
        cell: the cell.
        own: its rows.
        baseline: those of the behavior's baseline; of the baseline itself, its own.
        seed: of everything that is drawn for the cell.
        evaluation: the name of the evaluation whose numbers are wanted.
        numbers: what the evaluations before it have found.
    """

    plan: Plan
    cell: Cell
    own: MeasuredRows
    baseline: MeasuredRows
    seed: int
    evaluation: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the unchanged model, which has no differences."""
        return not self.cell.elements

    @property
    def rows(self) -> list[Row]:
        """The rows of the evaluation."""
        return self.own.of(self.evaluation)

    @property
    def baseline_rows(self) -> list[Row]:
        """The baseline's."""
        return self.baseline.of(self.evaluation)

    @property
    def noise(self) -> Noise | None:
        """What the model's rounding does to p_match; None where it computes in float32."""
        return self.baseline.info.get(NOISE)

    def paired(self, evaluation: str, against: str | None = None) -> Paired:
        """Lettered choices of the cell against the baseline's, paired by item.

        Args:
            evaluation: the cell's rows.
            against: the baseline's, where these are others.
        """
        return self.own.against(self.baseline, evaluation, self.noise, against)

    def first_shift(self, evaluation: str) -> float | None:
        """The mean difference of the first fit alone, for what is asked of that fit; None where nothing is paired."""
        difference = self.own.first_fit.against(self.baseline, evaluation, None).difference
        return float(difference.mean()) if len(difference) else None


class Evaluation(ABC):
    """One thing that is asked of cells; a subclass is a frozen dataclass whose fields are its settings.

    Attributes:
        across: whether its questions are the same whatever behavior a cell is of, so that cells of several behaviors
            are asked together; each cell's rows must not depend on the others.
        later: whether it is asked once all cells of a behavior are done, and may read the baseline's rows. It has no
            rows; a failure is kept beside the cell, and takes no other number of it along.
        every_fit: whether it is asked of every fit of a cell, where `--seeds` makes several; others are asked of the
            first. Its rows are choices, of which an item's numbers are the fits' average.
        place: where it stands among the others, in rows and report.
    """

    across: ClassVar[bool] = False
    later: ClassVar[bool] = False
    every_fit: ClassVar[bool] = False
    place: ClassVar[int] = 100

    @classmethod
    def of(cls, spec: Specification) -> Evaluation | None:
        """The evaluation as options of its own switch it on; None where they don't, and where it has none."""
        return None

    def check(self, plan: Plan) -> None:  # noqa: B027 - most have nothing to check
        """Raises CompareError for what can be seen before the model is loaded: a file that isn't there."""

    def identity(self, plan: Plan) -> object:
        """What can change the rows beside the specification and the behaviors' questions, as JSON: hashes of files."""
        return None

    def facts(self, plan: Plan, lm: LM) -> object:
        """What run.json is to say of how it was asked, as JSON."""
        return None

    @abstractmethod
    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> Iterable[CellResult]:
        """Asks cells; leaves the model as it was.

        Args:
            asking: with what.
            cells: they share a prompt's cache, and are of one behavior unless the questions are `across` them.

        Returns:
            One result a cell, in their order.

        Raises:
            CompareError: the cells can't be asked. Each is then asked alone, so that one can't spoil the rest.
        """

    @abstractmethod
    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        """Counts what asking cells takes, for `--dry-run`.

        Args:
            tally: what to add to; its model has a tokenizer and no weights.
            plan: the run, or its part on this model.
            cells: of one behavior, or of several where the questions are `across` them; may be none.
        """

    @abstractmethod
    def numbers(self, cell: MeasuredCell) -> object | None:
        """What a summary row says of a cell, from its rows and the baseline's; None where it has none.

        It is an instance of a frozen dataclass, whose fields are the numbers: their types, and by its docstring what
        they are. It stands in the row's `measured`, under the evaluation's name. Built-in evaluations may give a
        mapping instead, by the row's own fields.
        """

    def section(self, name: str, rows: Sequence[SummaryRow]) -> Section | None:
        """What the report says of it: by default its docstring's first line, and a table of all its numbers.

        Built-in evaluations have a module in `comparisons.report` instead, which has the evaluation's name.

        Args:
            name: the evaluation's.
            rows: of the summary.
        """
        return section_of(name, name.replace("_", " ").capitalize(), first_line(type(self)) or "", rows)


def section_of(name: str, title: str, text: str, rows: Sequence[SummaryRow]) -> Section | None:
    """A section of all that an evaluation measured, a line a cell; None where it measured nothing.

    Args:
        name: the evaluation's.
        title: of the section.
        text: what stands above the table.
        rows: of the summary.
    """
    measured = [(row, row.measured[name]) for row in rows if name in row.measured]
    if not measured:
        return None
    fields = list(dict.fromkeys(field for _, numbers in measured for field in numbers))
    columns = [Column(title, align="left") for title in ("behavior", "cell", "direction")]
    columns += [Column("95% CI", interval=True) if f.endswith("_ci") else Column(f.replace("_", " ")) for f in fields]
    lines = [
        Line((r.subject, r.name, r.direction or NOTHING, *(shown(numbers.get(f)) for f in fields)), r.subject)
        for r, numbers in measured
    ]
    return Section(title, text, Table(tuple(columns), tuple(lines)))


def shown(value: object) -> str:
    """A declared number as a report's table has it."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return interval(value)
    if isinstance(value, float):
        return number(value)
    return NOTHING if value is None else str(value)
