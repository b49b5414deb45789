"""Asks cells that share a prompt's cache everything that a run asks of them, evaluation after evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from comparisons.dataset.items import Item, Order
from comparisons.engine.choices import MAX_LEFT_OUT, choice_logps
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation
from comparisons.evaluation.questions import questions, result_rows
from comparisons.util.errors import CompareError
from comparisons.util.plugins import foreign

Evaluations = Mapping[str, Evaluation]
"""The evaluations of a run by name, in their order."""

Before = Mapping[tuple[str, str], CellResult]
"""By cell and evaluation, what has been asked before."""


def ask(name: str, evaluation: Evaluation, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
    """Asks cells one evaluation: one result a cell, in their order.

    Raises:
        CompareError: it gives more or fewer.
    """
    with foreign(f"the evaluation {name}"):
        results = list(evaluation.ask(replace(asking, evaluation=name), cells))
    if len(results) != len(cells):
        raise CompareError(f"the evaluation {name} gave {len(results)} results for {len(cells)} cells.")
    return results


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


def choice_results(
    asking: Asking,
    items: Sequence[Item],
    evaluation: str,
    cells: Sequence[CellToAsk],
    orders: Sequence[Order] | None = None,
) -> list[CellResult]:
    """Asks cells questions, by letters or by texts as the run measures.

    Args:
        asking: with what.
        items: the questions.
        evaluation: what the rows are to say.
        cells: which; none for no result.
        orders: the orders to ask in; those of the run by default.

    Returns:
        One a cell; of one whose numbers are not finite, or which leaves no room for the questions, the error.
    """
    if not (cells and items):
        return [CellResult() for _ in cells]
    asked = questions(items, orders or asking.plan.orders)
    without = len(items) - len({question.item.id for question in asked})
    if without > MAX_LEFT_OUT * len(items):
        error = CompareError(
            f"{without} of {len(items)} {evaluation} questions have no texts to compare: see --measure."
        )
        return [CellResult(error=error) for _ in cells]
    found = choice_logps(asking.lm, [question.shown for question in asked], [cell.intervention for cell in cells])
    results = []
    for index, cell in enumerate(cells):
        try:
            results.append(CellResult(result_rows(asked, found, index, evaluation, cell.fields)))
        except CompareError as error:
            results.append(CellResult(error=error))
    return results
