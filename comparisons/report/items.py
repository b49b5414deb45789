"""The questions behind a run's numbers, as a page holds them: texts once, and of each cell a number a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from comparisons.report.table import describe
from comparisons.results.cells import read_rows
from comparisons.results.folder import QuestionText, read_questions
from comparisons.results.record import Record
from comparisons.results.schema import SIDE
from comparisons.results.summary import SummaryRow

PLACES = 3
"""Of a probability in the page."""


def items_of(run: Path, record: Record) -> Mapping[str, Any] | None:
    """What a page needs to show the questions behind a number; None where the run's folder doesn't say them.

    Args:
        run: the folder.
        record: of it.

    Returns:
        "sets": by name, the questions in the order of their numbers; "cells": by key, what it is, its baseline, and
        its numbers by kind ("side:NAME" on another behavior's questions), as the name of their set and a number a
        question, None where it wasn't asked. Of free answers the set has the prompts, and a number is a text with its
        mean score.

    Raises:
        CompareError: a file of the run is broken.
    """
    texts, rows = read_questions(run), record.summary.rows
    wanted = {row.cell for row in rows if not row.failed}
    side = [f"{SIDE}{name}" for name in texts if name]
    found = read_rows(run, ("choices", "knowledge", *side), wanted) if texts else {}
    plain = {row.subject: row.cell for row in rows if row.is_baseline}
    sets: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for row in rows:
        mine = found.get(row.cell, [])
        kinds = {
            "choices": _numbers(sets, row.behavior, texts.get(row.behavior, {}), mine, "choices"),
            "knowledge": _numbers(sets, "knowledge", texts.get("", {}), mine, "knowledge"),
            "answers": _answers(sets, row, record),
            **{kind: _numbers(sets, name, texts[name], mine, kind) for kind in side if (name := kind[len(SIDE) :])},
        }
        kept = {name: kind for name, kind in kinds.items() if kind is not None}
        if kept:
            cells[row.cell] = {"name": f"{describe(row)}, {row.subject}", "base": plain.get(row.subject), **kept}
    return {"sets": sets, "cells": cells} if cells else None


def _numbers(
    sets: dict[str, Any], name: str, texts: Mapping[str, QuestionText], rows: Iterable[Mapping[str, Any]], kind: str
) -> list[Any] | None:
    """p_match of each question, over its orders and fits."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["evaluation"] == kind and row.get("p_match") is not None:
            values.setdefault(row["item"], []).append(row["p_match"])
    if not texts or not values:
        return None
    sets.setdefault(
        name, [[t["question"], t["matching"], t["contrast"], t["topic"], t["label"]] for t in texts.values()]
    )
    means = ((values[item], len(values[item])) if item in values else None for item in texts)
    return [name, [None if mean is None else round(sum(mean[0]) / mean[1], PLACES) for mean in means]]


def _answers(sets: dict[str, Any], row: SummaryRow, record: Record) -> list[Any] | None:
    """The free answer to each prompt, and the mean of its scores."""
    mine = {answer["prompt"]: answer for answer in record.answers if answer["cell"] == row.cell}
    if not mine:
        return None
    name = f"{row.behavior}: prompts"
    prompts = sets.setdefault(name, [[prompt, "", "", None, None] for prompt in mine])
    return [name, [_scored(mine.get(prompt)) for prompt, *_ in prompts]]


def _scored(answer: Mapping[str, Any] | None) -> list[Any] | None:
    if answer is None:
        return None
    scores = [score for score in answer["scores"].values() if score is not None]
    return [answer["answer"], round(fmean(scores), 2) if scores else None]
