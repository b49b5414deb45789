"""From log-probabilities to rows and numbers, by hand-worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from comparisons import stats
from comparisons.dataset.items import Item
from comparisons.engine.choices import ChoiceLogps
from comparisons.evaluation.measures import item_measures, letter_shifts, letter_split, paired
from comparisons.evaluation.questions import questions, result_rows, sigmoid
from comparisons.evaluations.choices import cautions
from comparisons.experiment.specification import Cell
from comparisons.util.errors import CompareError
from tests.tiny import tiny_item

ITEMS = [tiny_item(0, "test"), tiny_item(1, "test")]
UNPARSED = Item("test/2", "Which? (A) or (B)", "A", "B", (), "Which? (A) or (B)")
CELL = {"cell": "x"}


def rows_of(logps: list[tuple[float, float]], long: list[bool] | None = None, items: list[Item] | None = None) -> list:  # type: ignore[type-arg]
    asked = questions(items or ITEMS)
    found = ChoiceLogps(np.array([logps]), np.array([long or [False] * len(asked)]))
    return result_rows(asked, found, 0, "choices", CELL)


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


def test_the_message_about_them_names_layer_and_strength() -> None:
    place = {"cell": "x", "direction": "pos", "layer": 3, "strength": 2.0}
    logps = ChoiceLogps(np.full((1, 4, 2), np.nan), np.zeros((1, 4), dtype=bool))
    with pytest.raises(CompareError, match="item test/0, at layer 3 and strength 2: use a lower strength"):
        result_rows(questions(ITEMS), logps, 0, "choices", place)
    with pytest.raises(CompareError, match="item test/0, at strength 2"):
        result_rows(questions(ITEMS), logps, 0, "choices", {**place, "layer": None})


def test_content_and_letter_of_two_items_by_hand() -> None:
    """The first item matches under A as given, the second under B: a push to A must show as letter in both."""
    found = letter_split(rows_of([(3.0, 0.0), (1.0, 0.0), (1.0, 0.0), (3.0, 0.0)]), "choices")
    np.testing.assert_allclose(found.content, [2, 2])
    np.testing.assert_allclose(found.letter, [1, 1])
    plain = letter_split(rows_of([(0.0, 0.0)] * 4), "choices")
    shifts = letter_shifts(found, plain, {}, seed=0)
    assert (shifts["content_shift"], shifts["letter_shift"]) == (2, 1)
    assert shifts["letter_shift_ci"] is None  # two items tell nothing of their spread


def test_a_push_to_a_letter_is_letter_and_no_content() -> None:
    generator = np.random.default_rng(0)
    items = [tiny_item(i, "test") for i in range(20)]
    plain = generator.normal(size=(40, 2))
    asked = questions(items)
    to_first = np.array([[1.5, 0.0] if q.shown.matching < q.shown.contrast else [0.0, 1.5] for q in asked])
    found = [
        letter_split(rows_of([tuple(pair) for pair in logps], None, items), "choices")
        for logps in (plain + to_first, plain)
    ]
    shifts = letter_shifts(found[0], found[1], {}, seed=0)
    assert shifts["content_shift"] == pytest.approx(0, abs=1e-6)
    assert shifts["letter_shift"] == pytest.approx(1.5, abs=1e-6)
    assert shifts["letter_shift_ci"] == pytest.approx([1.5, 1.5], abs=1e-6)


def test_items_asked_in_one_order_are_not_split() -> None:
    given = [row for row in rows_of([(3.0, 0.0)] * 4) if row["order"] == "given"]
    assert letter_split(given, "choices").items == ()
    assert letter_shifts(letter_split(given, "choices"), letter_split(given, "choices"), {}, seed=0) == {}


@pytest.mark.parametrize("units", [12, 60])
@pytest.mark.parametrize("clustered", [False, True])
def test_p_values_of_many_cells_are_those_of_each(units: int, clustered: bool) -> None:
    generator = np.random.default_rng(units)
    cells = [generator.normal(mean, 1, units) for mean in (0, 0.2, 0.5)] + [np.zeros(units)]
    groups = [f"t{i % (units // 2)}" if i % 5 else None for i in range(units)] if clustered else None
    found = stats.sign_flip_ps(cells, clusters=groups, seed=1)
    alone = [stats.sign_flip_p(cell, clusters=groups, seed=2) for cell in cells]
    # Of 100,000 draws: five standard errors.
    for p, expected in zip(found, alone, strict=True):
        assert p == pytest.approx(expected, abs=5 * math.sqrt(2 * expected * (1 - expected) / 1e5) + 1e-5)
    assert found[-1] == 1


def test_few_items_and_items_of_one_letter_are_warned_of() -> None:
    eight = [tiny_item(i) for i in range(8)]
    assert cautions(Cell("b", "baseline"), eight, []) == []
    assert cautions(Cell("b", "baseline"), eight[:7], []) == ["only 7 questions: too few for the interval to mean much"]
    same = [tiny_item(2 * i) for i in range(8)]
    assert cautions(Cell("b", "baseline"), same, []) == ["every question has its matching choice under (A) as given"]


def test_sigmoid_at_its_ends() -> None:
    assert sigmoid(0) == 0.5
    assert sigmoid(-800) == 0
    assert sigmoid(800) == 1
