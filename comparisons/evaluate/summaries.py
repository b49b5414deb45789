"""Summary rows: one a cell and baseline, from result rows and the journal."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from comparisons import stats
from comparisons.evaluate.measures import ItemMeasures, clusters, interval, item_measures, paired
from comparisons.report.summary import SummaryRow
from comparisons.runfolder import Entry, RunFolder
from comparisons.specification import Cell, Plan


def summarize(plan: Plan, folder: RunFolder, model: str) -> list[SummaryRow]:
    """The summary of a run: every number that the report shows; Holm's correction is over the whole table."""
    rows: list[SummaryRow] = []
    for behavior in plan.behaviors:
        cells = [cell for cell in plan.cells if cell.behavior == behavior]
        rows += _Behavior(plan, folder, model, behavior).rows(cells)
    corrected = stats.holm([row.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


class _Behavior:
    """The summary rows of one behavior, paired with its baseline."""

    def __init__(self, plan: Plan, folder: RunFolder, model: str, name: str) -> None:
        self.plan, self.folder, self.model, self.name = plan, folder, model, name
        self.templates = {item.id: item.template for item in plan.asked(name)}
        self.subjects: Mapping[str, str | None] = {}
        if plan.knowledge is not None:
            self.subjects = {item.id: item.template for item in plan.knowledge.items}

    def rows(self, cells: Sequence[Cell]) -> list[SummaryRow]:
        baseline = next(cell for cell in cells if not cell.elements)
        found = self.folder.rows(baseline.key) if self.folder.done(baseline.key) else None
        return [self._row(cell, self.folder.entries.get(cell.key), found) for cell in cells]

    def _row(self, cell: Cell, entry: Entry | None, baseline: Sequence[Mapping[str, Any]] | None) -> SummaryRow:
        info: Mapping[str, Any] = entry.info if entry else {"error": "not run yet"}
        error = info.get("error") or (None if baseline else "its baseline failed")
        row = SummaryRow(
            model=self.model,
            behavior=cell.behavior,
            cell=cell.key,
            method=cell.label,
            direction=cell.direction,
            strength=cell.strength,
            settings=dict(info.get("settings") or {}),
            layer=info.get("layer"),
            status="failed" if error else "done",
            error=error,
        )
        if error or baseline is None:
            return row
        numbers = self._numbers(cell, self.folder.rows(cell.key), baseline)
        kept = ("fit_seconds", "eval_seconds", "peak_memory_bytes", "trainable_parameters")
        return replace(row, **numbers, **{name: info[name] for name in kept})

    def _numbers(
        self, cell: Cell, rows: Sequence[Mapping[str, Any]], baseline: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        seed = zlib.crc32(f"{self.plan.spec.seed} {cell.key}".encode())
        mine, theirs = item_measures(rows, "choices"), item_measures(baseline, "choices")
        numbers = {
            "n_items": len(mine.items),
            "p_match": _mean(mine.p_match),
            "p_match_ci": interval(mine.p_match, clusters(mine.items, self.templates), seed),
            "letter_bias": stats.letter_bias(mine.p_first),
            "lost_mass": _mean(mine.lost),
        }
        if cell.elements:
            numbers |= self._shift(cell, mine, theirs, seed)
        return numbers | self._knowledge(cell, rows, baseline, seed)

    def _shift(self, cell: Cell, mine: ItemMeasures, theirs: ItemMeasures, seed: int) -> dict[str, Any]:
        pair = paired(mine, theirs, self.templates)
        return {
            "n_items": len(pair.difference),
            "shift": _mean(pair.difference),
            "shift_ci": pair.interval(seed),
            "p_value": stats.sign_flip_p(pair.difference, clusters=pair.clusters, seed=seed),
            "anti_steerable": stats.anti_steerable(pair.content, cell.direction or "pos"),
        }

    def _knowledge(
        self, cell: Cell, rows: Sequence[Mapping[str, Any]], baseline: Sequence[Mapping[str, Any]], seed: int
    ) -> dict[str, Any]:
        if self.plan.knowledge is None:
            return {}
        mine, theirs = item_measures(rows, "knowledge"), item_measures(baseline, "knowledge")
        numbers: dict[str, Any] = {
            "knowledge": _mean(mine.p_match),
            "knowledge_set": self.plan.knowledge.name,
        }
        if cell.elements:
            pair = paired(mine, theirs, self.subjects)
            numbers |= {"cost": -_mean(pair.difference), "cost_ci": pair.interval(seed, sign=-1.0)}
        return numbers


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))
