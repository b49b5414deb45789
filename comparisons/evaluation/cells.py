"""Asks cells that share a prompt's cache everything that a run asks of them, evaluation after evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation
from comparisons.method.guard import foreign

Evaluations = Mapping[str, Evaluation]
"""The evaluations of a run by name, in their order."""

Before = Mapping[tuple[str, str], CellResult]
"""By cell and evaluation, what has been asked before."""


def ask(name: str, evaluation: Evaluation, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
    """Asks cells one evaluation: one result a cell, in their order."""
    with foreign(f"the evaluation {name}"):
        return list(evaluation.ask(replace(asking, evaluation=name), cells))


def measure(
    evaluations: Evaluations, asking: Asking, cells: Sequence[CellToAsk], before: Before | None = None
) -> list[CellResult]:
    """Asks cells of one behavior all that isn't for later.

    Args:
        evaluations: of the run.
        asking: with what.
        cells: they share a prompt's cache.
        before: what has been asked before, of some of them or all.

    Returns:
        One result a cell: the rows of all evaluations.

    Raises:
        CompareError: a cell can't be asked; which, is not said where there are several.
    """
    results = [CellResult() for _ in cells]
    for name, evaluation in evaluations.items():
        if evaluation.later:
            continue
        known = [(before or {}).get((cell.fields["cell"], name)) for cell in cells]
        found = [result for result in known if result is not None]
        if len(found) < len(cells):
            found = ask(name, evaluation, asking, cells)
        for result, more in zip(results, found, strict=True):
            if more.error is not None:
                raise more.error
            result.add(more)
    return results
