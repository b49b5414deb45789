"""Contrasts: the pieces against scipy and statsmodels, the family against a slow loop, and what can't be told."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import skew, ttest_1samp, ttest_rel

from comparisons.evaluation.contrasts import judged, numbers
from comparisons.stats import FEWEST, Contrast, FloatArray, Interval, contrasts, sign_flip_p, standard_error

DRAWS = 499


def made(cells: int, items: int, seed: int = 0, step: float = 0.0) -> FloatArray:
    """[cells, items] that share four fifths of their variance, each cell's mean `step` above the one before."""
    random = np.random.default_rng(seed)
    own, shared = random.normal(size=(cells, items)), random.normal(size=items)
    table: FloatArray = 0.3 * (math.sqrt(0.2) * own + math.sqrt(0.8) * shared) + step * np.arange(cells)[:, None]
    return table


def slowly(table: FloatArray, clusters: list[int], draws: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """The statistics [pairs] and the bootstrap's [draws, pairs], a draw, a pair and a cluster at a time."""
    random = np.random.default_rng(seed)
    names = list(dict.fromkeys(clusters))
    pairs = list(combinations(range(len(table)), 2))

    def mean_and_error(values: list[FloatArray]) -> tuple[float, float]:
        count, total = len(values), sum(len(one) for one in values)
        mean = sum(float(one.sum()) for one in values) / total
        squares = sum((float(one.sum()) - mean * len(one)) ** 2 for one in values)
        return mean, math.sqrt(count / (count - 1) * squares) / total

    observed, drawn = [], np.empty((draws, len(pairs)))
    split = []
    for a, b in pairs:
        values = table[a] - table[b]
        split.append([values[[i for i, label in enumerate(clusters) if label == name]] for name in names])
        observed.append(mean_and_error(split[-1]))
    for row, picks in zip(drawn, random.integers(0, len(names), (draws, len(names))), strict=True):
        for place, units in enumerate(split):
            mean, error = mean_and_error([units[pick] for pick in picks])
            row[place] = abs(mean - observed[place][0]) / error
    return np.array([abs(mean) / error for mean, error in observed]), drawn


def test_difference_and_error_are_those_of_the_paired_t_test() -> None:
    table = made(3, 40, step=0.05)
    for found in contrasts(table, draws=DRAWS):
        values = table[found.first] - table[found.second]
        t = ttest_rel(table[found.first], table[found.second])
        assert found.difference is not None and found.error is not None
        assert found.difference == pytest.approx(values.mean())
        assert found.difference / found.error == pytest.approx(t.statistic)
        assert (found.count, found.units) == (40, 40)
        assert found.skewness == pytest.approx(skew(values))


def test_the_family_is_that_of_a_slow_loop() -> None:
    table, clusters = made(4, 33, step=0.08), [i // 3 for i in range(33)]
    observed, drawn = slowly(table, clusters, DRAWS, seed=3)
    largest = np.sort(drawn.max(axis=1))[::-1]
    rank = int(0.05 * (DRAWS + 1))
    for place, found in enumerate(contrasts(table, clusters=clusters, draws=DRAWS, seed=3)):
        assert found.error == pytest.approx(standard_error(table[found.first] - table[found.second], clusters=clusters))
        assert found.p_adjusted == pytest.approx((np.sum(largest >= observed[place]) + 1) / (DRAWS + 1))
        assert found.simultaneous is not None and found.interval is not None and found.near is not None
        assert found.difference is not None and found.error is not None
        widths = (found.simultaneous.high - found.difference, found.interval.high - found.difference)
        own = np.sort(drawn[:, place])[::-1]
        assert widths == pytest.approx((found.error * largest[rank - 1], found.error * own[rank - 1]))
        assert found.near.high - found.difference == pytest.approx(found.error * own[2 * rank - 1])


def test_normal_differences_have_the_interval_and_the_equivalence_test_of_student_and_schuirmann() -> None:
    table = made(2, 200, seed=5, step=0.01)
    (found,) = contrasts(table)
    values = table[0] - table[1]
    plain = ttest_1samp(values, 0)
    assert found.interval == pytest.approx(plain.confidence_interval(0.95), abs=0.001)
    assert found.near == pytest.approx(plain.confidence_interval(0.90), abs=0.001)
    said = []
    for margin in np.linspace(0.005, 0.06, 12):
        above = ttest_1samp(values, -margin, alternative="greater").pvalue
        below = ttest_1samp(values, margin, alternative="less").pvalue
        if abs(max(above, below) - 0.05) > 0.01:
            said.append(found.verdict(margin) == "equivalent")
            assert said[-1] == (max(above, below) < 0.05), margin
    assert set(said) == {True, False}
    assert found.p_adjusted == pytest.approx(sign_flip_p(table[0] - table[1]), abs=0.02)


def test_a_p_value_of_at_most_5_percent_is_an_interval_without_0() -> None:
    for seed in range(20):
        for found in contrasts(made(5, 24, seed, step=0.05), draws=199, seed=seed):
            assert found.simultaneous is not None and found.interval is not None and found.p_adjusted is not None
            leaves_out = found.simultaneous.low > 0 or found.simultaneous.high < 0
            assert leaves_out == (found.p_adjusted <= 0.05)
            assert found.simultaneous.low <= found.interval.low <= found.interval.high <= found.simultaneous.high


def test_items_that_a_cell_lacks_are_left_out_of_its_pairs_only() -> None:
    table = made(3, 30, step=0.1)
    table[1, :4] = np.nan
    first, second, third = contrasts(table, draws=DRAWS)
    assert [found.count for found in (first, second, third)] == [26, 30, 26]
    assert first.difference == pytest.approx((table[0, 4:] - table[1, 4:]).mean())
    assert second.difference == pytest.approx((table[0] - table[2]).mean())
    table[2, 4:] = np.nan
    nothing = contrasts(table, draws=DRAWS)[2]
    assert (nothing.count, nothing.difference, nothing.interval) == (0, None, None)
    assert nothing.verdict(0.02) == "undecided"


def test_cells_that_are_alike_are_equivalent_and_a_constant_difference_is_certain() -> None:
    table = made(2, 40)
    table[1] = table[0]
    (same,) = contrasts(table, draws=DRAWS)
    assert (same.difference, same.interval, same.simultaneous) == (0.0, Interval(0, 0), Interval(0, 0))
    assert same.p_adjusted == 1.0 and same.verdict(0.02) == "equivalent" and same.items_needed(0.02, 1) is None
    table[1] = table[0] - 0.1
    (apart,) = contrasts(table, draws=DRAWS)
    assert apart.interval == pytest.approx((0.1, 0.1)) and apart.p_adjusted == 1 / (DRAWS + 1)
    assert (apart.verdict(0.02), apart.verdict(0.2)) == ("better", "equivalent")


def test_what_differs_by_less_than_the_margin_is_equivalent() -> None:
    table = np.stack([made(1, 100)[0]] * 2)
    table[0] += np.random.default_rng(1).normal(0.001, 0.001, 100)
    (found,) = contrasts(table, draws=DRAWS)
    assert found.p_adjusted is not None and found.p_adjusted < 0.01
    assert (found.verdict(0.02), found.verdict(0.0001)) == ("equivalent", "better")


@pytest.mark.parametrize("count", [2, FEWEST - 1, FEWEST])
def test_below_six_clusters_there_is_no_interval(count: int) -> None:
    table, clusters = made(2, 60, step=1.0), [i % count for i in range(60)]
    (found,) = contrasts(table, clusters=clusters, draws=DRAWS)
    assert found.units == count and found.error is not None
    assert (found.interval is None) == (found.simultaneous is None) == (found.p_adjusted is None) == (count < FEWEST)
    assert count >= FEWEST or found.verdict(0.02) == "undecided"


def test_a_pair_of_rare_flips_has_no_verdict_and_does_not_widen_the_others() -> None:
    table = made(3, 50, step=0.1)
    plain = contrasts(table, draws=DRAWS)
    flips = np.concatenate([table, table[:1]])
    flips[3, :2] += 0.9
    found = {(one.first, one.second): one for one in contrasts(flips, draws=DRAWS)}
    rare = found[0, 3]
    assert rare.sparse and rare.carried == pytest.approx(2, abs=0.2) and rare.verdict(0.02) == "undecided"
    assert judged(rare, 0.02) == ("undecided", "the difference lies in about 2 of 50 questions: too few")
    assert rare.interval is None or rare.interval.low < -0.3
    for before in plain:
        after = found[before.first, before.second]
        assert not after.sparse and before.simultaneous is not None and after.simultaneous is not None
        widths = [interval.high - interval.low for interval in (after.simultaneous, before.simultaneous)]
        assert widths[0] < 1.3 * widths[1]


def test_items_needed_are_those_that_would_decide_it() -> None:
    found = Contrast(0, 1, count=100, units=100, difference=0.03, error=0.02)
    # (1.96 + 0.84)² · 0.2² / 0.03²; and, with a margin of .05, (1.645 + 0.84)² · 0.2² / 0.02².
    assert found.items_needed(0.02, 1) == pytest.approx(349, abs=1)
    assert found.items_needed(0.05, 1) == pytest.approx(349, abs=1)
    assert found.items_needed(0.08, 1) == pytest.approx(99, abs=1)
    assert (found.items_needed(0.02, 10) or 0) > 500


def test_order_scale_and_seed() -> None:
    table = made(4, 40, step=0.05)
    found = contrasts(table, draws=DRAWS)
    assert contrasts(table, draws=DRAWS) == found != contrasts(table, draws=DRAWS, seed=1)
    small = contrasts(1e-9 * table, draws=DRAWS)
    assert [one.p_adjusted for one in small] == [one.p_adjusted for one in found]
    (turned,) = contrasts(table, [(1, 0)], draws=DRAWS)
    (straight,) = contrasts(table, [(0, 1)], draws=DRAWS)
    assert turned.difference == -(straight.difference or 0) and turned.p_adjusted == straight.p_adjusted
    assert contrasts(table, [], draws=DRAWS) == []
    with pytest.raises(ValueError, match="infinity at cell 0, item 0"):
        contrasts(np.where(table == table[0, 0], np.inf, table))


def test_twenty_cells_of_200_items_take_two_seconds() -> None:
    table = made(20, 200, step=0.01)
    start = time.process_time()
    assert len(contrasts(table, draws=10_000)) == 190
    assert time.process_time() - start < 2


def test_an_error_that_items_share_widens_what_their_spread_shows() -> None:
    table = made(3, 60, step=0.1)
    for plain, wide in zip(contrasts(table, draws=DRAWS), contrasts(table, shared=0.03, draws=DRAWS), strict=True):
        assert plain.error is not None and plain.simultaneous is not None and wide.simultaneous is not None
        before, after = (one.high - one.low for one in (plain.simultaneous, wide.simultaneous))
        assert after / before == pytest.approx(math.hypot(plain.error, 0.03) / plain.error)
        assert (plain.p_adjusted or 0) <= (wide.p_adjusted or 0)
    table[1] = table[0]
    alike = contrasts(table, [(0, 1)], shared=0.03, draws=DRAWS)[0]
    assert alike.interval == pytest.approx((-1.96 * 0.03, 1.96 * 0.03), abs=1e-4)
    assert alike.verdict(0.02) == "undecided" and alike.verdict(0.06) == "equivalent"


def test_no_interval_of_a_difference_of_probabilities_goes_beyond_1() -> None:
    (found,) = contrasts(made(2, 20), draws=DRAWS)
    wide = replace(found, interval=Interval(-0.2, 1.7), simultaneous=Interval(-66.0, 67.0))
    shown = numbers(wide, 1.0)
    assert (shown["ci"], shown["simultaneous_ci"]) == ([-0.2, 1.0], [-1.0, 1.0])
    assert numbers(wide)["simultaneous_ci"] == [-66.0, 67.0]
