"""Slopes over strengths against scipy and known truths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from comparisons.stats import bca_interval, slopes, spearman, steerability

STRENGTHS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
numbers = st.integers(-20, 20).map(float)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=30))
def test_spearman_equals_scipy(pairs: list[tuple[float, float]]) -> None:
    one, two = np.array(pairs).T
    found = spearman(one, two)
    if len(set(one)) == 1 or len(set(two)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(scipy_stats.spearmanr(one, two).statistic))


def test_slopes_equal_scipy() -> None:
    content = np.random.default_rng(1).normal(0, 1, (7, 5))
    uneven = np.array([-1.5, -0.5, 0.0, 0.5, 3.0])
    expected = [scipy_stats.linregress(uneven, row).slope for row in content]
    assert slopes(content, uneven) == pytest.approx(expected)


def test_items_that_agree_are_told_from_items_that_cancel() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(0, 0.05, (40, 5))
    agree = steerability(0.5 * STRENGTHS + noise, STRENGTHS)
    assert agree.mean == pytest.approx(0.5, abs=0.02) and agree.anti_steerable == 0
    assert agree.spearman == pytest.approx(1.0) and agree.item_spearman is not None and agree.item_spearman > 0.95
    assert agree.interval == bca_interval(agree.slopes) and agree.interval is not None and agree.interval.low > 0.45
    signs = np.where(np.arange(40) < 16, -1.0, 1.0)[:, None]
    cancel = steerability(signs * 0.5 * STRENGTHS + noise, STRENGTHS)
    assert cancel.anti_steerable == 0.4 and cancel.mean == pytest.approx(0.1, abs=0.02)
    assert cancel.quantiles[0] < -0.4 < 0.4 < cancel.quantiles[-1]
    assert cancel.item_spearman == pytest.approx(0.2, abs=0.05) and cancel.spearman == pytest.approx(1.0)


def test_saturation_shows_in_the_rank_correlation() -> None:
    turning = np.tile([-1.0, -2.0, 0.0, 2.0, 1.0], (3, 1))  # the strongest dose does less than the middle one
    assert steerability(turning, STRENGTHS).spearman == pytest.approx(0.8)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-200, -1e9])
def test_items_that_do_not_move_are_not_wrong(value: float) -> None:
    found = steerability(np.full((6, 3), value), [0.1, 0.2, 0.7])
    assert found.slopes.tolist() == [0.0] * 6 and found.anti_steerable == 0 and found.interval == (0.0, 0.0)
    assert found.spearman is None and found.item_spearman is None


def test_clusters_and_a_single_item() -> None:
    content = np.random.default_rng(3).normal(0, 1, (12, 5))
    labels = np.repeat(np.arange(4), 3).tolist()
    found = steerability(content, STRENGTHS, clusters=labels, seed=2)
    assert found.interval == bca_interval(slopes(content, STRENGTHS), clusters=labels, seed=2)
    assert steerability(content[:1], STRENGTHS).interval is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: slopes(np.zeros((3, 4)), STRENGTHS), r"\[items, 5 strengths\]; its shape is \(3, 4\)"),
        (lambda: slopes(np.zeros((0, 5)), STRENGTHS), r"\(0, 5\)"),
        (lambda: slopes([[0.0, np.nan]], [1.0, 2.0]), "item 0, strength 2.0"),
        (lambda: slopes([[0.0, 1.0]], [1.0, 1.0]), "two different strengths"),
        (lambda: spearman([1.0], [1.0, 2.0]), "1 and 2"),
    ],
)
def test_bad_input_is_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
