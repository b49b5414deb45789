"""What every evaluation must keep to, tried on a tiny random model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from comparisons.dataset.behaviors import KnowledgeSet
from comparisons.evaluation.cells import Evaluations, measure
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell, MeasuredRows
from comparisons.evaluation.registry import EvaluationRegistry
from comparisons.evaluation.summaries import numbers_of
from comparisons.evaluation.tally import Tally
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element, Specification
from comparisons.intervention import Edit, Intervention
from comparisons.judges.free_answers import OpenEnded
from comparisons.method.checks import WIDTH, Check, Findings, differences, state, toy_behavior, toy_lm
from comparisons.method.interface import Method, Use
from comparisons.method.settings import describe_settings
from comparisons.results.summary import SummaryRow
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from comparisons.util.plugins import first_line

DOCSTRING = "It has a docstring, whose first line says what it measures."
SETTINGS = "Its settings have types that a text can stand for."
ASK = "ask gives a result for each cell, in their order."
ROWS = "Its rows say of which cell, evaluation and item they are, hold plain values, and none stands twice."
REPEATED = "ask gives the same rows when it is called again."
ZERO = "A cell at strength 0 has the baseline's rows."
ALONE = "A cell that is asked alone has the rows that it has among others."
MODEL = "ask leaves model and tokenizer as they were."
NUMBERS = "Its numbers are of the types that it declares."
COST = "cost counts tokens and forward passes, and nothing where there are no cells."
SECTION = "Its section is a table of the rows, or none."

CHECKS = (DOCSTRING, SETTINGS, ASK, ROWS, REPEATED, ZERO, ALONE, MODEL, NUMBERS, COST, SECTION)
"""Every check, in the order in which they are tried."""

EQUAL = 1e-4
"""What two numbers of the same thing may differ by: a batch of another shape rounds otherwise."""


def check_evaluation(evaluation: Evaluation, name: str = "checked") -> None:
    """Runs the conformance suite on an evaluation with its settings.

    Raises:
        CompareError: something fails; each failure has a line of its own.
    """
    failures = [line for check in examine_evaluation(evaluation, name) for line in check.failures]
    if failures:
        raise CompareError("\n- ".join([f"{type(evaluation).__name__} is not a sound evaluation:", *failures]))


def examine_evaluation(evaluation: Evaluation, name: str = "checked") -> tuple[Check, ...]:
    """Runs every check on an evaluation, and says of each what came of it.

    It asks three cells on a tiny random model: the baseline, and a vector at strengths 0 and 1.

    Args:
        evaluation: with its settings.
        name: under which it is registered, as its rows have it.
    """
    findings = Findings(CHECKS)
    findings.begin(DOCSTRING)
    if not first_line(type(evaluation)):
        findings.fail(DOCSTRING, "it must have a docstring, whose first line `compare evaluations` shows")
    findings.attempt(SETTINGS, "reading its settings", lambda: describe_settings(type(evaluation)))
    with TemporaryDirectory() as folder:
        _Trial(evaluation, name, Path(folder), findings).run()
    return findings.checks()


@dataclass(frozen=True)
class _Push(Method):
    """Add one fixed vector."""

    def intervene(self, use: Use) -> Intervention:
        import torch

        return Intervention(edits=(Edit(0, torch.linspace(-1, 1, WIDTH), multiplier=use.signed),))


class _Trial:
    """An evaluation in use.

    Args:
        evaluation: with its settings.
        name: in its rows.
        folder: for what is kept.
        findings: what was tried so far.
    """

    def __init__(self, evaluation: Evaluation, name: str, folder: Path, findings: Findings) -> None:
        self.evaluation, self.name, self.findings = evaluation, name, findings
        items = toy_behavior("agreement").train
        behavior = replace(toy_behavior("agreement"), test=items[:6])
        pushed = [Cell("agreement", "push", (Element("push", _Push(), "pos", s),), "pos", s) for s in (0.0, 1.0)]
        self.cells = (Cell("agreement", "baseline"), *pushed)
        spec = Specification(
            behaviors=("agreement",), stacks=("push",), controls=True, side_effects=True, open_ended=OpenEnded()
        )
        known, side = KnowledgeSet("toy questions", items[6:12]), {"agreement": items[:6], "other": items[12:18]}
        self.plan = Plan(spec, {"agreement": behavior}, known, self.cells, (), side)
        self.lm = toy_lm()
        fitter = Fitter(self.lm, behavior, {}, Store(folder), 0)
        self.asked = [self._to_ask(cell, fitter) for cell in self.cells]
        choices = EvaluationRegistry().get("choices").of(spec)
        assert choices is not None
        self.all: Evaluations = {"choices": choices} | ({} if name == "choices" else {name: evaluation})
        self.asking = Asking(self.plan, self.lm, {"agreement": fitter}, baseline=lambda: self.before, evaluation=name)
        self.before: list[dict[str, Any]] = measure({"choices": choices}, self.asking, self.asked[:1])[0].rows

    def _to_ask(self, cell: Cell, fitter: Fitter) -> CellToAsk:
        fields = {
            "model": self.lm.name,
            "behavior": cell.behavior,
            "cell": cell.key,
            "method": cell.label,
            "direction": cell.direction,
            "strength": cell.strength,
            "layer": 0 if cell.elements else None,
        }
        return CellToAsk(cell.elements, fitter.build(cell.elements).intervention, fields)

    def run(self) -> None:
        """Asks, and looks at what comes of it."""
        before = state(self.lm)
        cells = self.asked[1:] if self.evaluation.later else self.asked
        results = self._ask(cells)
        if results is None:
            return
        self.findings.begin(MODEL, REPEATED, ALONE, ROWS)
        for what in differences(before, state(self.lm)):
            self.findings.fail(MODEL, f"the model's {what} changed: leave it as it was")
        self._look_at(cells, results)
        again = self._ask(cells) or []
        if [(r.rows, r.info) for r in again] != [(r.rows, r.info) for r in results]:
            self.findings.fail(REPEATED, "ask gives other rows when it is called again")
        alone = self._ask(cells[-1:])
        if alone is not None and not _alike(alone[0].rows, results[-1].rows):
            self.findings.fail(ALONE, "a cell's rows depend on the cells that it is asked with")
        if not self.evaluation.later:
            self.findings.begin(ZERO)
            if not _alike(results[1].rows, results[0].rows):
                self.findings.fail(ZERO, "strength 0 must have the baseline's rows: ask under cell.intervention")
        self._sum_up(results)

    def _ask(self, cells: Sequence[CellToAsk]) -> list[CellResult] | None:
        results = self.findings.attempt(ASK, "ask", lambda: list(self.evaluation.ask(self.asking, cells)))
        if results is None:
            return None
        if len(results) != len(cells) or not all(isinstance(each, CellResult) for each in results):
            self.findings.fail(ASK, f"ask must give a CellResult for each of {len(cells)} cells")
            return None
        for error in [each.error for each in results if each.error is not None]:
            self.findings.fail(ASK, f"ask says of a cell: {error}")
        return None if self.findings.failures else results

    def _look_at(self, cells: Sequence[CellToAsk], results: Sequence[CellResult]) -> None:
        """Whether rows are rows."""
        for cell, result in zip(cells, results, strict=True):
            keys = [(row.get("evaluation"), row.get("item"), row.get("order")) for row in result.rows]
            if len(set(keys)) < len(keys):
                self.findings.fail(ROWS, "two rows have one evaluation, item and order")
            own = (self.name, f"{self.name}:")
            for row in result.rows:
                if any(row.get(field) != value for field, value in cell.fields.items()):
                    self.findings.fail(ROWS, "a row lacks its cell's fields: make it by result_row")
                if not self._built_in and not str(row.get("evaluation")).startswith(own):
                    self.findings.fail(ROWS, f"a row's evaluation must be '{self.name}', not {row.get('evaluation')!r}")
            try:
                json.dumps([result.rows, result.info], allow_nan=False)
            except (TypeError, ValueError) as error:
                self.findings.fail(ROWS, f"a value is not plain JSON: {error}")

    @property
    def _built_in(self) -> bool:
        return self.name in EvaluationRegistry().own()

    def _sum_up(self, results: Sequence[CellResult]) -> None:
        """Numbers, section and cost."""
        if self.findings.failures:
            return
        whole = measure({k: e for k, e in self.all.items() if not e.later}, self.asking, self.asked)
        if self.evaluation.later:
            for cell_result, found in zip(whole[1:], results, strict=True):
                cell_result.info[self.name] = found.info
        measured = [MeasuredRows(each.rows, each.info) for each in whole]
        rows = []
        for cell, own in zip(self.cells, measured, strict=True):
            one = MeasuredCell(self.plan, cell, own, measured[0], 0)
            numbers = self.findings.attempt(NUMBERS, "numbers", lambda one=one: self._numbers(one))  # type: ignore[misc]
            if numbers is None:
                return
            head = SummaryRow("toy", cell.behavior, cell.key, cell.label, cell.direction, cell.strength)
            rows.append(replace(head, **numbers))
        section = self.findings.attempt(SECTION, "section", lambda: self.evaluation.section(self.name, rows))
        if section is not None and any(len(r.cells) != len(section.table.columns) for r in section.table.rows):
            self.findings.fail(SECTION, "a line of its table has not as many cells as there are columns")
        self._count()

    def _numbers(self, cell: MeasuredCell) -> dict[str, Any]:
        """A summary row's numbers; of an evaluation that declares its own, held to their types."""
        from pydantic import TypeAdapter

        plain = numbers_of({k: e for k, e in self.all.items() if k != self.name}, cell) if len(self.all) > 1 else {}
        found = self.evaluation.numbers(replace(cell, evaluation=self.name, numbers={"broken": False, **plain}))
        if found is not None and not isinstance(found, dict):
            TypeAdapter(type(found)).validate_json(json.dumps(asdict(found), allow_nan=False), strict=True)  # type: ignore[call-overload]
        return numbers_of(self.all, cell)

    def _count(self) -> None:
        none, some = Tally(self.lm), Tally(self.lm)
        self.findings.attempt(COST, "cost", lambda: self.evaluation.cost(none, self.plan, ()))
        self.findings.attempt(COST, "cost", lambda: self.evaluation.cost(some, self.plan, self.cells))
        if none.tokens or none.forwards:
            self.findings.fail(COST, "cost counts something where there are no cells")
        if not (some.tokens and some.forwards):
            self.findings.fail(COST, "cost counts nothing: add to tally, by its ask, read, write or add")


def _alike(left: Sequence[dict[str, Any]], right: Sequence[dict[str, Any]]) -> bool:
    """Whether rows of two cells hold the same, the cells' own fields aside."""
    return len(left) == len(right) and all(map(_same, left, right))


def _same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    fields = [name for name in left if name not in ("cell", "method", "direction", "strength", "layer")]
    return all(_equal(left[name], right.get(name)) for name in fields)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, (int, float)):
        return abs(left - right) <= EQUAL * max(1.0, abs(left))
    return bool(left == right)
