"""Scores the free answers of a finished run again, by other judges or for those that have no score yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.behaviors import Library
from comparisons.evaluation.free_answers import OPEN_ENDED, open_numbers, row_numbers
from comparisons.evaluation.measures import seed_of
from comparisons.evaluations.open_ended import JUDGING, summary_of
from comparisons.experiment.specification import Specification
from comparisons.judges.judge_set import make_judge_set
from comparisons.model.source import data_for
from comparisons.report import render
from comparisons.results.folder import RunFolder
from comparisons.results.record import read_record
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.judges.judge_set import JudgeSet
    from comparisons.results.summary import SummaryRow

Rows = Sequence[Mapping[str, Any]]


def score(run: Path, options: OpenEnded, data: Path | None = None, loading: Mapping[str, Any] | None = None) -> None:
    """Puts every free answer of a run before judges, writes their scores into the run, and renders its report again.

    What other judges have said stays.

    Args:
        run: its folder.
        options: the judges, and what they may cost.
        data: where the behaviors are, for their rubrics; by default where the run has them from.
        loading: fields of `ModelSource` that a local judge's has in place of the run's.

    Raises:
        CompareError: it is no run, has no free answers, or a judge can't be made.
    """
    record = read_record(run)
    if not record.answers:
        raise CompareError(f"the run in {run} has no free answers to score: its command with --open-ended writes them.")
    spec = Specification.from_json(record.part("specification"))
    library = Library.open(data_for(data or spec.data, spec.sources))
    behaviors = {name: library.behavior(name) for name in dict.fromkeys(a["behavior"] for a in record.answers)}
    judges = make_judge_set(options, behaviors, spec.model, None, loading or {})
    judges.check()
    folder = RunFolder(run, str(record.facts.get("digest")))
    try:
        subjects: dict[str, list[str]] = {}
        for row in record.summary.rows:
            subjects.setdefault(row.id.subject, []).append(row.cell)
        _score(folder, judges, subjects.values())
        rows = [_row(row, folder, spec.seed) for row in record.summary.rows]
        known = {**(record.summary.judges.get("known") or {}), **judges.calibration()}
        folder.write_summary(summary_of(rows, folder, known, record.summary.sections, record.summary.contrasts))
        render(run)
    finally:
        folder.close()


def _score(folder: RunFolder, judges: JudgeSet, behaviors: Iterable[Sequence[str]]) -> None:
    """Scores the cells of one behavior on one model at a time."""
    for cells in behaviors:
        rows = {key: folder.rows(key) for key in cells if folder.done(key)}
        free = {key: [row for row in cell_rows if row["evaluation"] == OPEN_ENDED] for key, cell_rows in rows.items()}
        free = {key: cell_rows for key, cell_rows in free.items() if cell_rows}
        references = {
            row["item"]: row["answer"] for cell_rows in free.values() for row in cell_rows if row["direction"] is None
        }
        for key, scored in zip(free, judges.scored(list(free.values()), references), strict=True):
            info = folder.entries[key].info
            judging = dict(info.get(JUDGING) or {})
            judging |= {judge: _paid(judging.get(judge), spent) for judge, spent in scored.spent.items()}
            others = [row for row in rows[key] if row["evaluation"] != OPEN_ENDED]
            folder.amend(key, {JUDGING: judging}, [*others, *scored.rows])


def _paid(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge has taken so far: what was paid for stays paid."""
    if before is None:
        return dict(now)
    return {
        key: None if (old, new) == (None, None) else (old or 0) + (new or 0)
        for key, new in now.items()
        for old in [before.get(key)]
    }


def _row(row: SummaryRow, folder: RunFolder, seed: int) -> SummaryRow:
    """The summary row with the new scores."""
    if row.failed or row.open_ended is None:
        return row
    baseline = None if row.is_baseline else folder.rows(str(row.id.baseline))
    shift = None if row.broken else row.shift
    spent = folder.entries[row.cell].info.get(JUDGING) or {}
    numbers = open_numbers(folder.rows(row.cell), baseline, shift, spent, seed_of(seed, str(row.id.alone)))
    return replace(row, **row_numbers(numbers))
