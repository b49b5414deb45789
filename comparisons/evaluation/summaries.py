"""Summary rows: one a cell and baseline, from the cells' rows and what is kept beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from comparisons import stats
from comparisons.evaluation.across import joint_p_values, parts_of, stack_interaction, steerability
from comparisons.evaluation.cells import Evaluations
from comparisons.evaluation.contrasts import compared
from comparisons.evaluation.interface import Evaluation, MeasuredCell, MeasuredRows
from comparisons.evaluation.measures import ItemMeasures, Paired, seed_of
from comparisons.evaluation.questions import CHOICES
from comparisons.evaluation.registry import evaluations_of, is_own
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell
from comparisons.results.cells import CellEntry
from comparisons.results.findings import BROKEN
from comparisons.results.folder import RunFolder
from comparisons.results.identity import CellId
from comparisons.results.schema import Contrast, Interaction, Steerability
from comparisons.results.summary import SummaryRow
from comparisons.util.errors import described
from comparisons.util.plugins import foreign

TIMES = ("fit_seconds", "eval_seconds", "peak_memory_bytes", "trainable_parameters")
LEDGER = ("matched", "letter_cosine", "examples", "fit_tokens", "tokens_run", "stored_bytes", "tuning_trials")


def summarize(plan: Plan, folder: RunFolder) -> tuple[list[SummaryRow], list[Contrast]]:
    """The summary of a run, every number that the report shows, and its cells' contrasts; Holm is over the whole table.

    Controls are in the table, so they count among its comparisons.
    """
    rows: list[SummaryRow] = []
    pairs: dict[tuple[str, str], Paired] = {}
    for source in plan.spec.sources:
        part = plan.of(source)
        for behavior in plan.behaviors:
            cells = [cell for cell in part.cells if cell.behavior == behavior]
            one = _Behavior(part, folder, behavior)
            rows += one.rows(cells)
            # Two models answer the same questions: an item's sign flips in the cells of all of them.
            pairs |= {(behavior, key): pair for key, pair in one.pairs.items()}
    corrected = stats.holm([row.p_value for row in rows])
    joint = joint_p_values(pairs, plan.spec.seed)
    rows = [replace(row, p_holm=p, p_max_t=joint.get(row.cell)) for row, p in zip(rows, corrected, strict=True)]
    return compared(rows, folder.rows, plan.spec.margin, plan.spec.seed, bool(plan.spec.layers))


class _Behavior:
    """The summary rows of one behavior on one model, paired with its baseline."""

    def __init__(self, plan: Plan, folder: RunFolder, name: str) -> None:
        self.plan, self.folder, self.name = plan, folder, name
        self.evaluations = evaluations_of(plan.spec)
        self.baseline: MeasuredRows | None = None
        self.pairs: dict[str, Paired] = {}
        self.sound: dict[str, ItemMeasures] = {}

    def rows(self, cells: Sequence[Cell]) -> list[SummaryRow]:
        baseline = next(cell for cell in cells if not cell.elements)
        if self.folder.done(baseline.key):
            self.baseline = self._measured(baseline)
        rows = [self._row(cell, self.folder.entries.get(cell.key)) for cell in cells]
        p_values, slopes = self._p_values(), self._slopes(cells)
        return [
            replace(
                row,
                p_value=p_values.get(row.cell),
                interaction=self._interaction(cell, cells),
                steerability=slopes.get(row.cell),
            )
            for row, cell in zip(rows, cells, strict=True)
        ]

    def _measured(self, cell: Cell) -> MeasuredRows:
        """A done cell's rows, and what evaluations keep beside them."""
        return MeasuredRows(self.folder.rows(cell.key), self.folder.entries[cell.key].info)

    def _interaction(self, cell: Cell, cells: Sequence[Cell]) -> Interaction | None:
        parts = parts_of(cell, cells)
        if (
            parts is None
            or self.baseline is None
            or any(key not in self.sound for key in (cell.key, *(part.key for part in parts)))
        ):
            return None
        measures = [self.sound[part.key] for part in parts]
        plain, templates = self.baseline.measures(CHOICES), self.baseline.templates(CHOICES)
        return stack_interaction(self.sound[cell.key], measures, plain, templates, self._seed(cell.id))

    def _slopes(self, cells: Sequence[Cell]) -> dict[str, Steerability]:
        """The steerability of each dosed method alone, by the first of its cells.

        A stack's other elements are still there at strength 0, so that the baseline is no point of its line.
        """
        plain = self.baseline
        if plain is None:
            return {}
        series: dict[object, list[Cell]] = {}
        for cell in cells:
            if cell.key in self.sound and len(cell.elements) == 1 and cell.elements[0].method.dosed and cell.strength:
                series.setdefault((cell.label, cell.varied), []).append(cell)
        found = {}
        for group in series.values():
            doses = {c.strength if c.direction == "pos" else -c.strength: self.sound[c.key] for c in group}
            doses[0.0] = plain.measures(CHOICES)
            slope = steerability(doses, plain.templates(CHOICES), self._seed(group[0].id))
            if slope is not None:
                found[group[0].key] = slope
        return found

    def _p_values(self) -> dict[str, float]:
        """By cell; cells with the same items share their random flips."""
        together: dict[tuple[str, ...], list[str]] = {}
        for key, pair in self.pairs.items():
            together.setdefault(pair.items, []).append(key)
        found: dict[str, float] = {}
        for keys in together.values():
            pairs, seed = [self.pairs[key] for key in keys], seed_of(self.plan.spec.seed, self.name)
            p_values = stats.sign_flip_ps([pair.difference for pair in pairs], clusters=pairs[0].clusters, seed=seed)
            found |= {key: self.pairs[key].p_value(p) for key, p in zip(keys, p_values, strict=True)}
        return found

    def _seed(self, cell: CellId) -> int:
        """Of a cell; the same on a model alone and beside others."""
        return seed_of(self.plan.spec.seed, str(cell.alone))

    def _row(self, cell: Cell, entry: CellEntry | None) -> SummaryRow:
        info: Mapping[str, Any] = entry.info if entry else {"error": "not run yet"}
        error = info.get("error") or (None if self.baseline else "its baseline failed")
        row = SummaryRow(
            model=self.plan.spec.model.name,
            behavior=cell.behavior,
            cell=cell.key,
            method=cell.label,
            direction=cell.direction,
            strength=cell.strength,
            settings=dict(info.get("settings") or {}),
            layer=info.get("layer"),
            status="failed" if error else "done",
            error=error,
            control=cell.control,
            varied=dict(cell.varied),
        )
        if error or self.baseline is None:
            return row
        own = self._measured(cell) if cell.elements else self.baseline
        measured = MeasuredCell(self.plan, cell, own, self.baseline, self._seed(cell.id))
        if cell.elements:
            self.pairs[cell.key] = measured.paired(CHOICES)
            if not float(own.measures(CHOICES).lost.mean()) > BROKEN:  # NaN where texts answered
                self.sound[cell.key] = own.measures(CHOICES)
        # Imported results have no ledger.
        kept = {name: info[name] for name in TIMES} | {name: info.get(name) for name in LEDGER}
        return replace(row, **numbers_of(self.evaluations, measured), **kept)


def numbers_of(evaluations: Evaluations, cell: MeasuredCell) -> dict[str, Any]:
    """What all evaluations say of a cell, by the fields of a summary row."""
    numbers: dict[str, Any] = {"warnings": [], "measured": {}}
    for name, evaluation in evaluations.items():
        found = _numbers(name, evaluation, replace(cell, evaluation=name, numbers=numbers))
        warnings = [*numbers["warnings"], *found.pop("warnings", ())]
        measured = {**numbers["measured"], **found.pop("measured", {})}
        numbers |= {**found, "warnings": warnings, "measured": measured}
    return numbers


def _numbers(name: str, evaluation: Evaluation, cell: MeasuredCell) -> dict[str, Any]:
    """What one says; of a plugin that can't say it, a warning."""
    try:
        with foreign(f"the evaluation {name}"):
            found = evaluation.numbers(cell)
        if found is None or isinstance(found, Mapping):
            return dict(found or {})
        numbers = asdict(found)  # type: ignore[call-overload]
        json.dumps(numbers, allow_nan=False)
        return {"measured": {name: numbers}}
    except Exception as error:
        if is_own(evaluation):
            raise
        return {"warnings": [f"{name} has no numbers: {described(error)}"]}
