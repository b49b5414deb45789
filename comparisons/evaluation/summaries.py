"""Summary rows: one a cell and baseline, from result rows and the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from comparisons import stats
from comparisons.evaluation.across import joint_p_values, parts_of, stack_interaction, steerability
from comparisons.evaluation.categories import by_category
from comparisons.evaluation.cautions import cautions
from comparisons.evaluation.cells import JUDGING
from comparisons.evaluation.conditions import CONDITIONS, PARAPHRASES, ROBUST
from comparisons.evaluation.generated import generated_numbers
from comparisons.evaluation.labels import label_shifts
from comparisons.evaluation.measures import (
    ItemMeasures,
    Paired,
    clusters,
    interval,
    item_measures,
    letter_shifts,
    letter_split,
    paired,
    repeated,
    seed_of,
)
from comparisons.evaluation.open_ended import open_numbers
from comparisons.evaluation.questions import SIDE
from comparisons.evaluation.ranks import RandomShifts, random_key
from comparisons.experiment.specification import Cell, Plan
from comparisons.results.findings import BROKEN, MARGIN
from comparisons.results.folder import NOT_REPEATED, RunFolder
from comparisons.results.journal import Entry
from comparisons.results.keys import IN, baseline_key
from comparisons.results.summary import SummaryRow

TIMES = ("fit_seconds", "eval_seconds", "peak_memory_bytes", "trainable_parameters")
LEDGER = ("letter_cosine", "examples", "fit_tokens", "tokens_run", "stored_bytes", "tuning_trials")

Rows = Sequence[Mapping[str, Any]]


def summarize(plan: Plan, folder: RunFolder) -> list[SummaryRow]:
    """The summary of a run: every number that the report shows; Holm's correction is over the whole table.

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
    return [replace(row, p_holm=p, p_max_t=joint.get(row.cell)) for row, p in zip(rows, corrected, strict=True)]


class _Behavior:
    """The summary rows of one behavior on one model, paired with its baseline."""

    def __init__(self, plan: Plan, folder: RunFolder, name: str) -> None:
        self.plan, self.folder, self.name = plan, folder, name
        self.templates = {"choices": {item.id: item.template for item in plan.asked(name)}}
        self.labels = {item.id: item.label for item in plan.asked(name)}
        if plan.knowledge is not None:
            self.templates["knowledge"] = {item.id: item.template for item in plan.knowledge.items}
        for other, items in plan.side.items():
            self.templates[f"{SIDE}{other}"] = {item.id: item.template for item in items}
        for condition in CONDITIONS if plan.spec.robustness else ():
            self.templates[f"{ROBUST}{condition}"] = self.templates["choices"]
        self.baseline: Rows | None = None
        self.measured: dict[str, ItemMeasures] = {}
        self.pairs: dict[str, Paired] = {}
        self.mine: dict[str, ItemMeasures] = {}

    def rows(self, cells: Sequence[Cell]) -> list[SummaryRow]:
        baseline = next(cell for cell in cells if not cell.elements)
        if self.folder.done(baseline.key):
            self.baseline = self.folder.rows(baseline.key)
            self.measured = {name: item_measures(self.baseline, name) for name in self.templates}
        rows = [self._row(cell, self.folder.entries.get(cell.key)) for cell in cells]
        p_values = self._p_values()
        slopes = self._slopes(cells)
        return [
            replace(
                row,
                p_value=p_values.get(row.cell),
                interaction=self._interaction(cell, cells),
                steerability=slopes.get(row.cell),
            )
            for row, cell in zip(rows, cells, strict=True)
        ]

    def _interaction(self, cell: Cell, cells: Sequence[Cell]) -> dict[str, Any] | None:
        parts = parts_of(cell, cells)
        if parts is None or any(key not in self.mine for key in (cell.key, *(part.key for part in parts))):
            return None
        measures = [self.mine[part.key] for part in parts]
        plain, templates = self.measured["choices"], self.templates["choices"]
        return stack_interaction(self.mine[cell.key], measures, plain, templates, self._seed(cell.key))

    def _slopes(self, cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
        """The steerability of each dosed method alone, by the first of its cells.

        A stack's other elements are still there at strength 0, so that the baseline is no point of its line.
        """
        series: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            if cell.key in self.mine and len(cell.elements) == 1 and cell.elements[0].method.dosed and cell.strength:
                series.setdefault((cell.label, cell.variant), []).append(cell)
        found = {}
        for group in series.values():
            doses = {c.strength if c.direction == "pos" else -c.strength: self.mine[c.key] for c in group}
            doses[0.0] = self.measured["choices"]
            slope = steerability(doses, self.templates["choices"], self._seed(group[0].key))
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
            pairs, seed = [self.pairs[key] for key in keys], self._seed(self.name)
            p_values = stats.sign_flip_ps([pair.difference for pair in pairs], clusters=pairs[0].clusters, seed=seed)
            found |= dict(zip(keys, p_values, strict=True))
        return found

    def _seed(self, text: str) -> int:
        """Of a cell by its key; the same on a model alone and beside others."""
        return seed_of(self.plan.spec.seed, text.removesuffix(f"{IN}{self.plan.spec.model.name}"))

    def _row(self, cell: Cell, entry: Entry | None) -> SummaryRow:
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
        )
        if error or self.baseline is None:
            return row
        rows = self.folder.rows(cell.key) if cell.elements else self.baseline
        numbers = self._numbers(cell, rows)
        shift = None if numbers["broken"] else numbers.get("shift")
        against = self.baseline if cell.elements else None
        numbers["open_ended"] = open_numbers(rows, against, shift, info.get(JUDGING) or {}, self._seed(cell.key))
        # A journal of an earlier version has no ledger.
        kept = {name: info[name] for name in TIMES} | {name: info.get(name) for name in LEDGER}
        return replace(row, **numbers, **kept)

    def _numbers(self, cell: Cell, rows: Rows) -> dict[str, Any]:
        seed, mine = self._seed(cell.key), item_measures(rows, "choices")
        lost = _mean(mine.lost)
        behavior = self.plan.behaviors[self.name]
        numbers = {
            "n_items": len(mine.items),
            "p_match": _mean(mine.p_match),
            "p_match_ci": interval(mine.p_match, clusters(mine.items, self.templates["choices"]), seed),
            "letter_bias": stats.letter_bias(mine.p_first),
            "lost_mass": lost,
            "broken": lost > BROKEN,
            "generated": generated_numbers(
                rows, self.baseline if cell.elements else None, self.templates["choices"], seed
            ),
            "warnings": [
                *cautions(cell, self.plan.asked(self.name), behavior.train),
                *self._unranked(cell),
                *self._not_repeated(cell, rows),
            ],
        }
        if cell.elements:
            numbers |= self._shift(cell, rows, mine, seed)
            numbers |= self._side_effects(rows, seed)
            numbers |= self._robustness(cell, rows, numbers, seed)
        return numbers | self._knowledge(cell, rows, seed)

    def _shift(self, cell: Cell, rows: Rows, mine: ItemMeasures, seed: int) -> dict[str, Any]:
        assert self.baseline is not None
        pair = self.pairs[cell.key] = paired(mine, self.measured["choices"], self.templates["choices"])
        shift = _mean(pair.difference)
        if _mean(mine.lost) <= BROKEN:
            self.mine[cell.key] = mine
        flips = stats.mcnemar(pair.before > 0.5, pair.after > 0.5)
        splits = letter_split(rows, "choices"), letter_split(self.baseline, "choices")
        return {
            "n_items": len(pair.difference),
            "shift": shift,
            "shift_ci": pair.interval(seed),
            "flips": {"gained": flips.gained, "lost": flips.lost, "p_value": flips.p_value},
            "detectable_shift": stats.minimum_detectable_shift(pair.difference, clusters=pair.clusters),
            "anti_steerable": stats.anti_steerable(pair.content, cell.direction or "pos"),
            **letter_shifts(*splits, self.templates["choices"], seed),
            **self._rank(cell, shift),
            **label_shifts(pair, self.labels, seed),
        }

    def _rank(self, cell: Cell, shift: float) -> dict[str, Any]:
        """The rank among random directions, for a cell that has vectors."""
        entry = self.folder.entries.get(random_key(cell.key))
        if entry is None or not entry.info.get("shifts"):
            return {}
        return RandomShifts(tuple(entry.info["shifts"]), tuple(entry.info.get("matched", ()))).numbers(shift)

    def _unranked(self, cell: Cell) -> list[str]:
        entry = self.folder.entries.get(random_key(cell.key))
        return [f"not ranked among random directions: {entry.info['error']}"] if entry and "error" in entry.info else []

    def _side_effects(self, rows: Rows, seed: int) -> dict[str, Any]:
        found = {}
        for other in self.plan.side:
            if other == self.name:
                continue
            evaluation = f"{SIDE}{other}"
            pair = paired(item_measures(rows, evaluation), self.measured[evaluation], self.templates[evaluation])
            if len(pair.difference):
                found[other] = {"shift": _mean(pair.difference), "ci": pair.interval(seed)}
        return {"side_effects": found} if self.plan.side else {}

    def _robustness(self, cell: Cell, rows: Rows, plain: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The shift under each condition of `--robustness`, and what share of the plain one it is."""
        found = {}
        for condition in CONDITIONS if self.plan.spec.robustness else ():
            evaluation = f"{ROBUST}{condition}"
            # Rewording a cell's own prompt leaves the baseline, which has none, as it is.
            against = self.measured["choices" if condition in PARAPHRASES else evaluation]
            mine = item_measures(rows, evaluation)
            pair = paired(mine, against, self.templates[evaluation])
            if len(pair.difference):
                lost = max(_mean(mine.lost), _mean(against.lost))
                sound = not plain["broken"] and lost <= BROKEN
                found[condition] = {
                    **repeated(pair, self.pairs[cell.key], plain["shift_ci"], sound, seed),
                    "baseline": _mean(against.p_match),
                    "lost_mass": lost,
                }
        return {"robustness": found} if self.plan.spec.robustness else {}

    def _not_repeated(self, cell: Cell, rows: Rows) -> list[str]:
        """Why a cell, or the baseline where the cell has rows, has none under a condition; a line a reason."""
        baseline, own = (
            (self.folder.entries[key].info.get(NOT_REPEATED) or {}) if key in self.folder.entries else {}
            for key in (baseline_key(self.name, cell.model), cell.key)
        )
        asked = {row["evaluation"] for row in rows} if baseline else set()
        failures = {**own, **{name: why for name, why in baseline.items() if f"{ROBUST}{name}" in asked}}
        reasons = dict.fromkeys(failures.values())
        named = {why: ", ".join(name for name, text in failures.items() if text == why) for why in reasons}
        return [f"not repeated under {names}: {why}" for why, names in named.items()]

    def _knowledge(self, cell: Cell, rows: Rows, seed: int) -> dict[str, Any]:
        if self.plan.knowledge is None:
            return {}
        plain = self.measured["knowledge"]
        mine = item_measures(rows, "knowledge") if cell.elements else plain
        if not (mine.items and plain.items):  # imported results may lack some
            return {}
        numbers: dict[str, Any] = {
            "knowledge": _mean(mine.p_match),
            "knowledge_set": self.plan.knowledge.name,
            "knowledge_by_category": by_category(mine, plain, self.plan.knowledge.items) or None,
        }
        if cell.elements:
            pair = paired(mine, plain, self.templates["knowledge"])
            verdict = stats.no_measurable_cost(-pair.difference, margin=MARGIN, clusters=pair.clusters, seed=seed)
            numbers |= {
                "cost": -_mean(pair.difference),
                "cost_ci": pair.interval(seed, sign=-1.0),
                "cost_bound": verdict.bound,
            }
        return numbers


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))
