"""What is known of a run's judges: how they do on answers of known score, and whether they agree on the run's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from comparisons.evaluation.measures import Row
from comparisons.evaluation.open_ended import OPEN_ENDED
from comparisons.judges.calibration import agreement
from comparisons.results.folder import RunFolder


def summary_of(rows: Sequence[Any], folder: RunFolder, known: Mapping[str, Any]) -> dict[str, Any]:
    """What summary.json holds: the rows, and "judges" where free answers were judged.

    Args:
        rows: the summary's, as dataclasses.
        folder: the run's, with its result rows.
        known: judge -> how it does on known answers.
    """
    found: dict[str, Any] = {"rows": [asdict(row) for row in rows]}
    cells = [row.cell for row in rows if row.open_ended and folder.done(row.cell)]
    answers = [one for cell in cells for one in folder.rows(cell) if one["evaluation"] == OPEN_ENDED]
    if any(answer["scores"] for answer in answers):
        found["judges"] = {"known": dict(known), "agreement": _agreements(answers)}
    return found


def _agreements(answers: Sequence[Row]) -> list[dict[str, Any]]:
    judges = dict.fromkeys(judge for answer in answers for judge in answer["scores"])
    if len(judges) < 2:
        return []
    return [asdict(each) for each in agreement({name: [a["scores"].get(name) for a in answers] for name in judges})]
