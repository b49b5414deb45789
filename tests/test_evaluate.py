"""From log-probabilities to rows and numbers, by hand-worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from comparisons.errors import CompareError
from comparisons.evaluate.measures import item_measures, paired
from comparisons.evaluate.questions import questions, result_rows, sigmoid
from comparisons.items import Item
from tests.tiny import tiny_item

ITEMS = [tiny_item(0, "test"), tiny_item(1, "test")]
UNPARSED = Item("test/2", "Which? (A) or (B)", "A", "B", (), "Which? (A) or (B)")
CELL = {"cell": "x"}


def rows_of(logps: list[tuple[float, float]], long: list[bool] | None = None, items: list[Item] | None = None) -> list:  # type: ignore[type-arg]
    asked = questions(items or ITEMS)
    return result_rows(asked, np.array(logps), np.array(long or [False] * len(asked)), "choices", CELL)


def test_questions_stand_in_the_items_order_and_unparsed_ones_once() -> None:
    asked = questions([*ITEMS, UNPARSED])
    assert [(q.item.id, q.order, q.shown.matching) for q in asked] == [
        ("test/0", "given", "A"),
        ("test/0", "swapped", "B"),
        ("test/1", "given", "B"),
        ("test/1", "swapped", "A"),
        ("test/2", "given", "A"),
    ]


def test_numbers_of_two_items_by_hand() -> None:
    logps = [(math.log(p), math.log(q)) for p, q in ((0.6, 0.2), (0.1, 0.1), (0.5, 0.5), (0.3, 0.6))]
    found = item_measures(rows_of(logps), "choices")
    assert found.items == ("test/0", "test/1")
    np.testing.assert_allclose(found.p_match, [(0.75 + 0.5) / 2, (0.5 + 1 / 3) / 2], atol=1e-6)
    np.testing.assert_allclose(found.content, [math.log(3) / 2, math.log(0.5) / 2], atol=1e-6)
    np.testing.assert_allclose(found.p_first, [0.75, 0.5, 0.5, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(found.lost, [0.2, 0.8, 0, 0.1], atol=1e-6)


def test_a_cell_is_paired_with_the_baseline_over_the_items_both_have() -> None:
    cell = item_measures(rows_of([(0.0, -1.0), (0.0, -1.0), (0.0, 0.0), (0.0, 0.0)]), "choices")
    only_second = item_measures(rows_of([(-1.0, 0.0), (-1.0, 0.0)], items=ITEMS[1:]), "choices")
    pair = paired(cell, only_second, {})
    np.testing.assert_allclose(pair.difference, [0.5 - sigmoid(-1.0)], atol=1e-6)
    np.testing.assert_allclose(pair.content, [1.0], atol=1e-6)
    assert pair.clusters is None
    assert paired(cell, cell, {"test/0": "t", "test/1": "t"}).clusters == ["t", "t"]


def test_too_many_long_questions_fail_the_cell_and_a_few_are_left_out_in_both_orders() -> None:
    with pytest.raises(CompareError, match="1 of 4 choices questions exceed the model's context, the first is test/1"):
        rows_of([(0.0, 0.0)] * 4, [False, False, True, False])
    items = [tiny_item(i, "test") for i in range(30)]
    rows = rows_of([(0.0, 0.0)] * 60, [False] * 59 + [True], items)
    assert len(rows) == 58
    assert "test/29" not in {row["item"] for row in rows}


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_numbers_that_are_not_finite_fail_the_cell(bad: float) -> None:
    with pytest.raises(CompareError, match="not finite on choices item test/1"):
        rows_of([(0.0, 0.0), (0.0, 0.0), (bad, 0.0), (0.0, 0.0)])


def test_sigmoid_at_its_ends() -> None:
    assert sigmoid(0) == 0.5
    assert sigmoid(-800) == 0
    assert sigmoid(800) == 1
