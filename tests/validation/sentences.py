"""The report's sentences simulated: how often one claims something of a grid of cells in which nothing happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comparisons.evaluation.contrasts import compared
from comparisons.results.findings import answer, backfired, moved
from comparisons.results.summary import SummaryRow
from comparisons.stats import FloatArray
from tests.validation.shapes import SIZES, cluster_labels, sigmoid
from tests.validation.simulations import Sizes, Turn, runs_of

METHODS, STRENGTHS = "abcd", (0.25, 0.5, 1.0, 2.0, 4.0)
DRAWS = 999
"""Bootstrap draws."""


def grids_of(sizes: Sizes) -> Sizes:
    """Three runs in fifty: each has 380 contrasts."""
    return replace(sizes, runs=max(1, 3 * sizes.runs // 50))


@dataclass(frozen=True)
class Sentences:
    """How often the answer on 4 methods at 5 strengths in 2 directions, all like the baseline, claimed something.

    Attributes:
        data: shape of the answers.
        items: of every cell.
        units: independent ones.
        moves: share of grids of which it said that a method moved the behavior.
        wrongly: share of which it said that one moved it the wrong way.
        told_apart: share of which it said that one moved it further than another, or as far.
        any: share of grids with any such sentence.
        bound: the largest `any` asked for.
    """

    data: str
    items: int
    units: int
    moves: float
    wrongly: float
    told_apart: float
    any: float
    bound: float


def sentences(sizes: Sizes, bound: float, turn: Turn) -> list[Sentences]:
    """Independent questions, and questions of templates."""
    kinds = (("independent", (), 50), ("independent", (), 100), ("templates", SIZES, 100))
    return [_sentences(name, templates, items, grids_of(sizes), bound, turn) for name, templates, items in kinds]


def _sentences(name: str, templates: tuple[int, ...], items: int, sizes: Sizes, bound: float, turn: Turn) -> Sentences:
    turn(f"sentences: {name}, {items} items")
    labels = cluster_labels(items, templates) if templates else list(range(items))
    said = np.zeros(4)
    for seed, random in runs_of(sizes, f"sentences {name} {items}"):
        found = _claims(_grid(random, labels), labels, seed)
        said += [*found, any(found)]
    moves, wrongly, apart, some = (float(count) / sizes.runs for count in said)
    return Sentences(name, items, len(set(labels)), moves, wrongly, apart, some, bound)


def _grid(random: np.random.Generator, labels: Sequence[int]) -> FloatArray:
    """[cells, items] p_match, the baseline first: what a cell adds differs by template and item."""
    cells, clusters = 1 + 2 * len(METHODS) * len(STRENGTHS), max(labels) + 1
    logits = random.normal(0, 2, len(labels))
    between = random.normal(0, 0.5, (cells, clusters))[:, list(labels)]
    return sigmoid(logits + between + random.normal(0, 0.5, (cells, len(labels))))


def _claims(table: FloatArray, labels: Sequence[int], seed: int) -> tuple[bool, bool, bool]:
    """Whether the report's sentences say that something moved, moved the wrong way, or was told apart."""
    rows, read = _rows(table), {}
    templates = [None if len(set(labels)) == len(labels) else str(label) for label in labels]
    for row, values in zip(rows, table, strict=True):
        read[row.cell] = [_result(i, float(p), templates[i]) for i, p in enumerate(values)]
    compared_rows, contrasts = compared(rows, lambda cell: read[cell], 0.02, seed, draws=DRAWS)
    cells = compared_rows[1:]
    moves = any(moved(row) for row in cells)
    texts = [answer(compared_rows, direction, contrasts) or "" for direction in ("pos", "neg")]
    assert moves == any("no method moved it" not in text for text in texts)
    return moves, bool(backfired(cells)), any(_tells_apart(text) for text in texts)


def _tells_apart(text: str) -> bool:
    return any(words in text for words in ("further than", "less far than", "equivalent within"))


def _rows(table: FloatArray) -> list[SummaryRow]:
    plain = SummaryRow("model", "behavior", "behavior/baseline", "baseline", None, 0.0, n_items=table.shape[1])
    places = [(d, m, s) for d in ("pos", "neg") for m in METHODS for s in STRENGTHS]
    shifts = (table[1:] - table[0]).mean(axis=1)
    cells = [
        replace(plain, cell=f"behavior/{m}/{d}/{s:g}", method=m, direction=d, strength=s, shift=float(shift))
        for (d, m, s), shift in zip(places, shifts, strict=True)
    ]
    return [plain, *cells]


def _result(item: int, p: float, template: str | None) -> dict[str, Any]:
    logps = {"logp_matching": math.log(p), "logp_contrast": math.log1p(-p)}
    letters = {"order": "given", "matching": "A", "contrast": "B"}
    return {"evaluation": "choices", "item": str(item), "template": template, "p_match": p, **letters, **logps}
