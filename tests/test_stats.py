"""The estimators against scipy, worked examples and simulation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from comparisons.stats import FloatArray, Interval, bca_interval, difference_interval, sign_flip_p, student_t
from comparisons.stats.intervals import wilson

numbers = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
samples = st.lists(numbers, min_size=2, max_size=40).map(np.array)
probabilities = st.floats(0, 1, allow_subnormal=False)


def interval_of(values: FloatArray, clusters: list[int] | None = None, draws: int = 1000) -> Interval:
    interval = bca_interval(values, clusters=clusters, draws=draws)
    assert interval is not None
    return interval


def scipy_bca(*samples: FloatArray, statistic: Callable[..., FloatArray], level: float = 0.95) -> list[float]:
    """Plain BCa, at the level whose normal quantile is as far out as the expanded tail."""
    count = len(samples[0])
    tail = math.sqrt(count / (count - 1)) * scipy_stats.t.ppf((1 + level) / 2, count - 1)
    level = 1 - 2 * float(scipy_stats.norm.sf(tail))
    interval = scipy_stats.bootstrap(
        samples, statistic, paired=len(samples) > 1, method="BCa", n_resamples=4000, confidence_level=level,
        rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    return [float(interval.low), float(interval.high)]


def ratio(sums: FloatArray, sizes: FloatArray, axis: int = -1) -> FloatArray:
    total: FloatArray = sums.sum(axis=axis) / sizes.sum(axis=axis)
    return total


def by_cluster(values: FloatArray, labels: list[int]) -> tuple[FloatArray, FloatArray]:
    groups = [values[np.array(labels) == label] for label in dict.fromkeys(labels)]
    return np.array([group.sum() for group in groups]), np.array([float(len(group)) for group in groups])


# Intervals


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("draw", ["normal", "gamma", "ternary"])
def test_bca_equals_scipy(draw: str, level: float) -> None:
    random = np.random.default_rng(3)
    values = {
        "normal": random.normal(0.2, 1, 50),
        "gamma": random.gamma(0.5, 1, 50),
        "ternary": random.integers(-1, 2, 50).astype(float),
    }[draw]
    ours = bca_interval(values, level=level, draws=4000, seed=7)
    assert ours == pytest.approx(scipy_bca(values, statistic=np.mean, level=level), abs=1e-9)


def test_clustered_bca_equals_scipys_ratio_of_sums() -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 15, 80).tolist()
    values = random.gamma(1, 1, 80) + np.array(labels) / 10
    ours = bca_interval(values, clusters=labels, draws=4000, seed=7)
    sums, sizes = by_cluster(values, labels)
    assert ours == pytest.approx(scipy_bca(sums, sizes, statistic=ratio), abs=1e-9)


def test_more_items_than_a_block_holds_give_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=30)
    whole = interval_of(values), sign_flip_p(values, draws=999)
    monkeypatch.setattr("comparisons.stats.units.BLOCK", 1024)
    assert interval_of(values) == whole[0]
    assert sign_flip_p(values, draws=999) == pytest.approx(whole[1], abs=0.06)


def test_clusters_of_one_and_unlabelled_items_stand_alone() -> None:
    values = np.random.default_rng(6).normal(size=20)
    assert bca_interval(values, clusters=list(range(20))) == bca_interval(values)
    assert bca_interval(values, clusters=[None] * 20) == bca_interval(values)
    assert bca_interval(values, clusters=["a"] * 10 + [None] * 10) != bca_interval(values)


def test_a_seed_fixes_the_draws() -> None:
    values = np.random.default_rng(7).normal(size=40)
    assert bca_interval(values, seed=1) == bca_interval(values, seed=1) != bca_interval(values, seed=2)
    assert sign_flip_p(values, draws=999, seed=1) == sign_flip_p(values, draws=999, seed=1)
    assert len({sign_flip_p(values, draws=999, seed=seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e-200, 1e9])
def test_no_variance_gives_zero_width_at_the_mean(value: float) -> None:
    low, high = interval_of(np.full(23, value))
    assert low == high == pytest.approx(value, rel=1e-12)


def test_clusters_of_equal_means_give_zero_width() -> None:
    values = np.array([0.1, 0.3, 0.2, 0.0, 0.4, 0.2])  # every pair has the mean 0.2
    low, high = interval_of(values, [0, 0, 1, 2, 2, 1])
    assert low == high == pytest.approx(0.2)
    labels = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]).tolist()  # 3 × 0.1 is not 0.3
    low, high = interval_of(np.full(21, 0.1), labels)
    assert low == high == pytest.approx(0.1)


def test_one_item_or_one_cluster_has_no_interval() -> None:
    assert bca_interval(np.array([0.3])) is None
    assert bca_interval(np.array([0.3, 0.1, -0.2]), clusters=["same"] * 3) is None


@pytest.mark.parametrize("values", [[0.0] * 49 + [1.0], [-1.0] + [1e-9] * 49, [0.0, 1.0]])
def test_extreme_skew_stays_finite_and_holds_the_mean(values: list[float]) -> None:
    low, high = interval_of(np.array(values))
    assert min(values) <= low <= np.mean(values) <= high <= max(values)


def test_tiny_values_have_the_shape_of_large_ones() -> None:
    values = np.random.default_rng(15).gamma(0.5, 1, 30)
    low, high = interval_of(values)
    tiny = interval_of(values * 2.0**-600)  # their squares are 0
    assert (tiny.low * 2.0**600, tiny.high * 2.0**600) == pytest.approx((low, high))


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_draws_all_on_one_side_of_the_mean_still_give_an_interval(draws: int) -> None:
    low, high = interval_of(np.array([0.0, 0.3, 5.0]), draws=draws)  # scipy answers NaN here
    assert 0 <= low <= high <= 5


def test_a_denominator_beyond_infinity_takes_the_outermost_draw() -> None:
    values = np.array([0.0] * 99 + [1.0])
    interval = bca_interval(values, level=1 - 1e-12, draws=500)
    assert interval is not None and interval.low == 0.0 and 0.01 < interval.high <= 0.1


@settings(max_examples=60, deadline=None)
@given(samples, numbers, st.sampled_from([0.25, 1.0, 8.0]))
def test_intervals_move_with_the_values(values: FloatArray, offset: float, scale: float) -> None:
    low, high = interval_of(values, draws=200)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    assert interval_of(values * scale + offset, draws=200) == pytest.approx(
        (low * scale + offset, high * scale + offset), abs=1e-6
    )
    assert interval_of(-values, draws=200) == pytest.approx((-high, -low), abs=1e-6)


def coverage(draw: Callable[[], FloatArray], truth: float, clusters: list[int] | None = None) -> float:
    hits = 0
    for _ in range(300):
        low, high = interval_of(draw(), clusters, draws=800)
        hits += low <= truth <= high
    return hits / 300


@pytest.mark.parametrize("shape", ["normal", "skewed", "mostly zero"])
def test_intervals_cover_the_truth(shape: str) -> None:
    random = np.random.default_rng(8)
    draw: dict[str, tuple[Callable[[], FloatArray], float]] = {
        "normal": (lambda: random.normal(0.1, 0.3, 60), 0.1),
        "skewed": (lambda: random.beta(0.5, 2, 60), 0.2),
        "mostly zero": (lambda: random.normal(0.3, 0.2, 60) * (random.random(60) < 0.4), 0.12),
    }
    assert 0.90 <= coverage(*draw[shape]) <= 0.99


def test_items_that_share_a_template_need_clusters() -> None:
    random = np.random.default_rng(9)
    labels = np.repeat(np.arange(30), np.arange(30) % 5 + 1).tolist()

    def draw() -> FloatArray:
        values: FloatArray = random.normal(0, 0.3, 30)[labels] + random.normal(0.1, 0.1, len(labels))
        return values

    assert coverage(draw, 0.1, labels) >= 0.91
    assert coverage(draw, 0.1) <= 0.80


def test_ten_clusters_cover_the_truth() -> None:
    random = np.random.default_rng(16)
    labels = np.repeat(np.arange(10), [3, 5, 7, 4, 6] * 2).tolist()

    def draw() -> FloatArray:
        values: FloatArray = random.normal(0, 0.2, 10)[labels] + random.normal(0.1, 0.2, len(labels))
        return values

    assert coverage(draw, 0.1, labels) >= 0.91  # plain BCa: .89 over many runs


def test_two_units_give_their_range() -> None:
    assert interval_of(np.array([0.1, 0.4])) == pytest.approx((0.1, 0.4))
    low, high = interval_of(np.array([0.1, 0.3, 0.4, 0.6]), [0, 0, 1, 1])
    assert (low, high) == pytest.approx((0.2, 0.5))


# Student's t


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 31, 199, 9_999, 10_000, 10_001, 1_000_000])
@pytest.mark.parametrize("share", [0.0005, 0.025, 0.3, 0.5, 0.8, 0.95, 0.975, 0.9999])
def test_students_t_equals_scipy(share: float, freedom: int) -> None:
    assert student_t(share, freedom) == pytest.approx(float(scipy_stats.t.ppf(share, freedom)), rel=1e-7, abs=1e-12)


# Wilson's interval


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 7), (1, 7), (7, 7), (31, 60), (4_999, 5_000)])
def test_wilsons_interval_equals_scipys(hits: int, count: int) -> None:
    theirs = scipy_stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
    assert wilson(hits, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


# The difference of two groups


def two_groups(random: np.random.Generator, few: int, many: int) -> tuple[FloatArray, list[bool]]:
    return np.concatenate([random.normal(0.3, 0.2, few), random.gamma(1, 0.1, many)]), [True] * few + [False] * many


def test_the_difference_of_large_groups_is_welchs() -> None:
    values, second = two_groups(np.random.default_rng(17), 400, 400)
    found = difference_interval(values, second)
    theirs = scipy_stats.ttest_ind(values[:400], values[400:], equal_var=False).confidence_interval()
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.001)


@pytest.mark.parametrize("few", [6, 40])
def test_the_difference_covers_the_truth_also_with_a_small_group(few: int) -> None:
    random = np.random.default_rng(18)
    hits = 0
    for seed in range(300):
        values, second = two_groups(random, few, 60)
        found = difference_interval(values, second, draws=500, seed=seed)
        assert found is not None
        hits += found.low <= 0.2 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_clusters_that_hold_both_groups_are_kept_together() -> None:
    random = np.random.default_rng(19)
    labels = np.repeat(np.arange(40), 2).tolist()
    second = [True, False] * 40
    values = random.normal(0, 1, 40)[labels] + np.array(second) * 0.1 + random.normal(0, 0.01, 80)
    apart, together = difference_interval(values, second), difference_interval(values, second, clusters=labels)
    assert apart is not None and together is not None
    assert together.high - together.low < 0.02 < 0.5 < apart.high - apart.low
    paired = interval_of((values[::2] - values[1::2]).round(12), draws=10_000)
    assert together == pytest.approx(paired, abs=0.002)


def test_differences_without_variance_or_without_units() -> None:
    values = np.repeat([0.1, 0.4], 6)
    assert difference_interval(values, values > 0.2) == pytest.approx((0.3, 0.3))
    assert difference_interval(np.full(7, 0.1), np.arange(7) < 2) == pytest.approx((0.0, 0.0), abs=1e-15)
    assert difference_interval(values, np.arange(12) < 1) is None
    assert difference_interval(values, np.ones(12, bool)) is None
    assert difference_interval(values, values > 0.2, clusters=["a"] * 6 + ["b"] * 6) is None


# Sign flips


@pytest.mark.parametrize("count", [2, 5, 9, 12])
def test_exact_sign_flips_equal_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(0.4, 1, count).round(1)
    theirs = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(float(theirs), abs=1e-12)


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bca_interval(np.array([])), "values .* not empty"),
        (lambda: bca_interval(np.zeros((2, 2))), r"\(2, 2\)"),
        (lambda: bca_interval(np.array([0.1, np.nan])), "NaN or infinity at item 1"),
        (lambda: bca_interval(np.array([0.1, 0.2]), clusters=["a"]), "1 cluster labels for 2 items"),
        (lambda: bca_interval(np.array([0.1, 0.2]), level=95), "level"),
        (lambda: bca_interval(np.array([0.1, 0.2]), draws=0), "draws"),
        (lambda: sign_flip_p(np.array([np.inf])), "differences holds NaN"),
        (lambda: sign_flip_p(np.array([0.1]), draws=0), "draws"),
        (lambda: difference_interval(np.zeros(3), [True]), "items don't match"),
        (lambda: student_t(1.0, 3), "share"),
        (lambda: student_t(0.9, 0), "freedom"),
    ],
)
def test_bad_arrays_are_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_is_light() -> None:
    code = "import sys, comparisons.stats; print([m for m in ('scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
