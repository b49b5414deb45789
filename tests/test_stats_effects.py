"""Interactions, costs held against a margin, splits by label, what items can show, and ranks among random ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from comparisons.stats import (
    areas,
    bca_interval,
    by_label,
    cost_bounds,
    detectable_shift,
    dominance,
    holm,
    interaction,
    items_needed,
    least_limit,
    mean_effect,
    minimum_detectable_shift,
    randoms_needed,
    rank_among,
    sign_flip_p,
    standard_error,
)

numbers = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
samples = st.lists(numbers, min_size=2, max_size=40).map(np.array)


# Effects and interactions


def test_an_effect_is_the_mean_with_its_interval_and_p_value() -> None:
    values, labels = np.random.default_rng(1).normal(0.2, 1, 30), np.repeat(np.arange(10), 3).tolist()
    found = mean_effect(values, clusters=labels, seed=4)
    assert found.count == 30 and found.mean == pytest.approx(values.mean())
    assert found.interval == bca_interval(values, clusters=labels, seed=4)
    assert found.p_value == sign_flip_p(values, clusters=labels, seed=4)
    alone = mean_effect(np.array([0.3]))
    assert alone.interval is None and alone.p_value == 1.0


@settings(max_examples=40, deadline=None)
@given(samples, st.data())
def test_parts_that_add_up_have_no_interaction(baseline: np.ndarray, data: st.DataObject) -> None:
    moves = [np.array(data.draw(st.lists(numbers, min_size=len(baseline), max_size=len(baseline)))) for _ in range(3)]
    stack = baseline + sum(moves)
    found = interaction(stack, [baseline + move for move in moves], baseline)
    assert found.mean == 0.0 and found.interval == (0.0, 0.0) and found.p_value == 1.0


def test_an_interaction_is_found_with_its_sign() -> None:
    random = np.random.default_rng(2)
    baseline, one, two = random.normal(0, 1, 80), random.normal(0.5, 0.3, 80), random.normal(0.4, 0.3, 80)
    beyond = random.normal(-0.2, 0.1, 80)
    found = interaction(baseline + one + two + beyond, [baseline + one, baseline + two], baseline)
    assert found.mean == pytest.approx(beyond.mean())
    assert found.interval == pytest.approx(bca_interval(beyond))
    assert found.interval is not None and found.interval.high < 0
    assert found.p_value == pytest.approx(1 / 100_001)


def test_saturation_makes_probabilities_interact_where_logits_add_up() -> None:
    logits = np.linspace(-3, 3, 40)
    stack, part = logits + 6, logits + 3
    assert interaction(stack, [part, part], logits).p_value == 1.0

    def p(values: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-values)))

    on_probabilities = interaction(p(stack), [p(part), p(part)], p(logits))
    assert on_probabilities.interval is not None and on_probabilities.interval.high < 0


# Costs held against a margin


def test_the_bounds_are_those_of_scipy_and_of_the_bootstrap() -> None:
    random = np.random.default_rng(3)
    cost = np.where(random.random(200) < 0.01, 0.9, random.normal(0.002, 0.01, 200))
    found = cost_bounds(cost)
    mean, cut = (bca_interval(values, level=0.9) for values in (cost, np.minimum(cost, 0.1)))
    assert mean is not None and cut is not None and (cost > 0.1).sum() > 0
    one_sided = scipy_stats.binomtest(int((cost > 0.1).sum()), 200).proportion_ci(0.9, "exact")
    assert found.mean == mean.high and found.falls == pytest.approx(one_sided.high)
    assert found.cut == pytest.approx(cut.high + 0.9 * one_sided.high)
    assert found.largest == max(mean.high, found.falls, found.cut or 0) and not found.within(found.largest)
    assert found.within(found.largest + 1e-9)


def test_no_cost_is_not_shown_by_few_questions_that_lose_nothing() -> None:
    assert [cost_bounds(np.zeros(n)).testable(0.02) for n in (149, 150)] == [False, True]
    assert cost_bounds(np.zeros(150)).within(0.02) and not cost_bounds(np.zeros(149)).within(0.02)
    assert not cost_bounds(np.zeros(150)).testable(0.01)  # so small a margin takes 299
    assert cost_bounds(np.zeros(80)).largest == pytest.approx(least_limit(80)) == pytest.approx(1 - 0.05 ** (1 / 80))
    assert not cost_bounds(np.full(400, 0.02)).within(0.02)
    alone = cost_bounds(np.array([0.0]))
    assert alone.largest is None and not alone.within(0.5)
    # Four of a template that fall together are one of so many units.
    templates, cost = [i // 4 for i in range(800)], np.zeros(800)
    cost[:4] = 0.5
    assert cost_bounds(cost, clusters=templates).falls == pytest.approx(scipy_stats.beta.ppf(0.95, 2, 199))


@pytest.mark.parametrize("count", [150, 300])
def test_a_cost_at_the_margin_passes_in_at_most_one_of_twenty(count: int) -> None:
    def drawn(seed: int) -> np.ndarray:  # .0146 everywhere, and everything on .54% of the questions
        falls = np.random.default_rng(seed).random(count) < 0.0054
        return np.where(falls, 1.0, (0.02 - 0.0054) / (1 - 0.0054))

    found = [cost_bounds(drawn(seed), draws=200, seed=seed) for seed in range(200)]
    by_two = np.mean([each.mean is not None and max(each.mean, each.falls) < 0.02 for each in found])
    assert by_two > 0.1 and np.mean([each.within(0.02) for each in found]) <= 0.05


def test_what_is_dominated_in_every_draw_is_not_on_the_frontier() -> None:
    random = np.random.default_rng(7)
    base, knows = random.normal(0.2, 0.1, 40), random.normal(0.01, 0.05, 60)
    shifts = np.stack([base, base + 0.1, base + 0.2, base + 0.1, np.zeros(40)])
    costs = np.stack([knows, knows, knows + 0.1, knows + 0.1, np.zeros(60)])
    on, by = dominance(shifts, costs, draws=500)
    assert on[:4].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert by[0, 1] == by[3, 1] == by[3, 2] == 1.0 and by[1, 2] == by[2, 1] == 0.0
    # Two cells that are the same don't dominate each other; a coin decides between two that are alike.
    assert dominance(shifts[[0, 0]], costs[[0, 0]], draws=50)[0].tolist() == [1.0, 1.0]
    alike = np.stack([base, base + np.where(np.arange(40) % 2, 0.1, -0.1)])
    assert 0.3 < dominance(alike, costs[[0, 0]], draws=500)[0][0] < 0.7
    # An item that a cell lacks is left out, and clusters are drawn whole: all but that item's are ties.
    lacking = np.where(np.arange(40) == 3, np.nan, alike)
    whole = dominance(lacking, costs[[0, 0]], shift_clusters=[i // 2 for i in range(40)], draws=500)[0]
    assert whole[0] == 1.0 and whole[1] == pytest.approx(0.95**20, abs=0.08)


def plain_area(shifts: np.ndarray, costs: np.ndarray, reach: float) -> float:
    """By a mean over many costs, each with the best cell that it pays for."""
    every = (np.arange(1000) + 0.5) * reach / 1000
    return float(np.where(costs[:, None] <= every, shifts[:, None], 0.0).max(axis=0).clip(min=0).mean())


def test_the_area_under_a_frontier_is_that_of_plain_code() -> None:
    random = np.random.default_rng(3)
    items, questions = random.normal(0, 0.1, (6, 40)), random.normal(0, 0.05, (6, 60))
    # Three strengths of one method, of which the middle one is beaten by the first; one dose of another; a control.
    shifts = items + np.array([0.2, 0.15, 0.4, 0.3, 0.6, 0.0])[:, None]
    costs = questions + np.array([0.02, 0.05, 0.12, 0.06, 0.5, 0.0])[:, None]
    methods, ends = ["a", "a", "a", "b", "control"], [True, True, True, True, False]
    found = areas(shifts, costs, methods, ends, draws=1000)
    reach = costs[2].mean() - costs[5].mean()
    drawn: dict[str, list[float]] = {"a": [], "b": [], "control": []}
    for number in range(301):
        some = [np.arange(n) if not number else random.integers(0, n, n) for n in (40, 60)]
        shift, cost = (v[:, at].mean(axis=1) - v[-1, at].mean() for v, at in zip((shifts, costs), some, strict=True))
        for name, each in drawn.items():
            own = [place for place, method in enumerate(methods) if method == name]
            each.append(plain_area(shift[own], cost[own], reach))
    for name, each in drawn.items():
        assert found[name].value == pytest.approx(each[0], abs=1e-3) and found[name].reach == pytest.approx(reach)
        assert found[name].interval == pytest.approx(np.quantile(each[1:], (0.025, 0.975)).tolist(), abs=0.02)
    assert found["control"].value == 0
    # Fewer than six questions have no interval; where the furthest costs nothing there is nothing to divide by.
    few = areas(shifts[:, :5], costs, methods, ends, draws=50)
    assert all(area.interval is None for area in few.values())
    assert areas(shifts, -costs, methods, ends, draws=50) == {}


# Labels


def test_a_yes_bias_shows_in_the_split() -> None:
    random = np.random.default_rng(5)
    labels = ["yes"] * 40 + ["no"] * 40 + [None] * 2
    values = np.concatenate([random.normal(0.2, 0.1, 40), random.normal(-0.2, 0.1, 40), [9.0, 9.0]])
    found = by_label(values, labels)
    assert found.unlabelled == 2 and list(found.effects) == ["yes", "no"]
    assert found.effects["yes"] == mean_effect(values[:40]) and found.effects["no"].mean < 0
    (difference,) = found.differences
    assert (difference.first, difference.second) == ("yes", "no")
    assert difference.mean == pytest.approx(-0.4, abs=0.05)
    assert difference.interval is not None and difference.interval.high < -0.3
    one_way = scipy_stats.f_oneway(values[:40], values[40:80]).statistic
    assert found.explained == pytest.approx(one_way / (one_way + 78))  # η² = F·1 / (F·1 + n − k)


def test_three_labels_have_three_differences_and_one_none() -> None:
    values = np.random.default_rng(6).normal(0, 1, 30)
    pairs = [(d.first, d.second) for d in by_label(values, [*"abc"] * 10).differences]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = by_label(values, ["a"] * 30)
    assert alone.differences == () and alone.explained is None and alone.unlabelled == 0
    assert by_label(values, [None] * 30).effects == {}
    assert by_label(np.full(6, 0.1), [*"ab"] * 3).explained is None
    assert by_label(np.array([0.0, 1.0] * 3), [*"ab"] * 3).explained == pytest.approx(1.0)
    lonely = by_label(values, ["a"] * 29 + ["b"])
    assert lonely.differences[0].interval is None and lonely.effects["b"].interval is None


def test_labels_within_a_cluster_are_compared_within_it() -> None:
    random = np.random.default_rng(7)
    templates = np.repeat(np.arange(20), 2).tolist()
    values = random.normal(0, 1, 20)[templates] + np.array([0.0, 0.1] * 20)
    (difference,) = by_label(values, [*"ab"] * 20, clusters=templates).differences
    assert difference.interval == pytest.approx((0.1, 0.1))
    assert by_label(values, [*"ab"] * 20, clusters=templates).effects["a"].count == 20


# What items can show


def test_the_standard_error_equals_scipy_and_the_ratio_estimator() -> None:
    values = np.random.default_rng(8).normal(0, 0.3, 25)
    assert standard_error(values) == pytest.approx(scipy_stats.sem(values))
    doubled = np.repeat(values, 2)
    assert standard_error(doubled, clusters=np.repeat(np.arange(25), 2).tolist()) == pytest.approx(
        scipy_stats.sem(values)
    )
    assert standard_error(values[:1]) is None and standard_error(np.full(4, 0.2)) == pytest.approx(0, abs=1e-15)
    labels = np.repeat(np.arange(200), np.arange(200) % 5 + 1).tolist()
    random = np.random.default_rng(9)
    means, errors = [], []
    for _ in range(400):
        drawn = random.normal(0, 0.3, 200)[labels] + random.normal(0, 0.3, len(labels))
        means.append(drawn.mean())
        error = standard_error(drawn, clusters=labels)
        assert error is not None
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.12)


def test_a_shift_of_that_size_is_found_four_times_in_five() -> None:
    random = np.random.default_rng(10)
    shift = detectable_shift(0.3, 80)
    found = [sign_flip_p(random.normal(shift, 0.3, 80), draws=400, seed=seed) <= 0.05 for seed in range(400)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)


def test_the_minimum_detectable_shift_by_hand() -> None:
    assert detectable_shift(0.3, 1_000_000) == pytest.approx((1.959964 + 0.841621) * 0.0003, rel=1e-5)
    assert detectable_shift(0.3, 100) == pytest.approx((1.984217 + 0.845270) * 0.03, rel=1e-5)
    assert detectable_shift(0.3, 100, alpha=0.05 / 8) > detectable_shift(0.3, 100)
    assert detectable_shift(0.3, 100, power=0.9) == pytest.approx((1.984217 + 1.290161) * 0.03, rel=1e-5)
    values = np.random.default_rng(11).normal(0, 0.3, 50)
    assert minimum_detectable_shift(values) == pytest.approx(detectable_shift(float(values.std(ddof=1)), 50))
    assert minimum_detectable_shift(values, clusters=[0] * 50) is None
    assert minimum_detectable_shift(np.full(50, 0.25)) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 1), st.floats(0, 1))
def test_the_items_needed_are_the_fewest(shift: float, deviation: float) -> None:
    items = items_needed(shift, deviation)
    assert detectable_shift(deviation, items) <= shift * (1 + 1e-9)
    assert items == 2 or detectable_shift(deviation, items - 1) > shift * (1 - 1e-9)
    assert items_needed(-shift, deviation) == items


# Ranks


def test_ranks_by_hand() -> None:
    assert rank_among(0.3, [0.1, -0.3, 0.2, -0.5]) == (4, 0, 4, 2 / 5)
    assert rank_among(-0.9, np.linspace(-0.5, 0.5, 199)) == (0, 199, 199, 2 / 200)
    assert rank_among(0.0, [0.1, 0.0]).p_value == 1.0
    assert rank_among(0.1 + 0.2, [0.3]) == rank_among(0.3, [0.1 + 0.2]) == (1, 1, 1, 1.0)
    # Where every random one pushes up, an equal push up is nothing special, and none at all is.
    assert rank_among(0.2, np.linspace(0.1, 0.3, 99)).p_value == 1.0
    assert rank_among(0.0, np.linspace(0.1, 0.3, 99)).p_value == 2 / 100


def test_a_random_vector_ranks_uniformly() -> None:
    random = np.random.default_rng(12)
    p = [rank_among(draws[0], draws[1:]).p_value for draws in random.normal(0.4, 1, (2000, 20))]
    counts = np.bincount(np.round(np.array(p) * 10).astype(int), minlength=11)[1:]
    assert scipy_stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("level", "cells", "count"), [(0.05, 1, 39), (0.005, 1, 399), (0.01, 1, 199), (0.05, 5, 199), (0.05, 56, 2239)]
)
def test_the_random_vectors_needed_reach_the_level(level: float, cells: int, count: int) -> None:
    assert randoms_needed(level, cells=cells) == count
    best = rank_among(1.0, np.zeros(count)).p_value
    adjusted = holm([best] + [1.0] * (cells - 1))[0]
    assert adjusted is not None and adjusted <= level * (1 + 1e-12)
    short = holm([rank_among(1.0, np.zeros(count - 1)).p_value] + [1.0] * (cells - 1))[0]
    assert short is not None and short > level


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interaction([1.0], [[1.0]], [1.0]), "at least two parts, not 1"),
        (lambda: interaction([1.0], [[1.0], [1.0, 2.0]], [1.0]), "items don't match: 1, 1, 1, 2"),
        (lambda: interaction([1.0], [[1.0], [math.nan]], [1.0]), "part 1 holds NaN"),
        (lambda: cost_bounds(np.zeros(3), level=0.5), "level"),
        (lambda: by_label(np.zeros(3), ["a"]), "1 labels for 3 items"),
        (lambda: detectable_shift(0.3, 1), "items"),
        (lambda: detectable_shift(0.3, 10, alpha=0), "alpha"),
        (lambda: items_needed(0, 0.3), "shift"),
        (lambda: minimum_detectable_shift(np.zeros(3), power=1), "power"),
        (lambda: rank_among(math.nan, [0.1]), "observed"),
        (lambda: rank_among(0.1, []), "random"),
        (lambda: randoms_needed(0), "level"),
        (lambda: randoms_needed(0.05, cells=0), "cells"),
    ],
)
def test_bad_input_is_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
