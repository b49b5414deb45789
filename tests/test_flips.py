"""p-values by sign flips: exact, drawn, by cluster, at their level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats as scipy_stats

from comparisons.stats import FloatArray, sign_flip_p
from tests.test_stats import by_cluster, samples


def test_clustered_sign_flips_equal_scipys_on_cluster_sums() -> None:
    random = np.random.default_rng(11)
    labels = [0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7]
    values = random.normal(0.4, 1, len(labels))
    sums, _ = by_cluster(values, labels)
    theirs = scipy_stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert sign_flip_p(values, clusters=labels) == pytest.approx(float(theirs), abs=1e-12)


def test_drawn_sign_flips_agree_with_enumeration() -> None:
    values = np.random.default_rng(12).normal(0.4, 1, 15)
    exact = sign_flip_p(values)
    assert sign_flip_p(values, draws=2**15, seed=1) == exact
    drawn = sign_flip_p(values, draws=20_000)
    assert exact != drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_known_p_values() -> None:
    assert sign_flip_p(np.array([1.0, 1.0, 1.0])) == 2 / 8
    assert sign_flip_p(np.array([0.1, 0.2, 0.3])) == 2 / 8  # 0.1 + 0.2 + 0.3 depends on the order of adding
    assert sign_flip_p(np.array([0.1, 0.2, -0.3])) == 1.0
    assert sign_flip_p(np.array([5.0])) == 1.0
    assert sign_flip_p(np.zeros(40)) == 1.0
    cancelling = np.array([0.1, 0.2, -0.3] * 9)  # each cluster sums to 5e-17
    assert sign_flip_p(cancelling, clusters=np.repeat(np.arange(9), 3).tolist()) == 1.0
    assert sign_flip_p(np.ones(40), draws=999) == 1 / 1000


def test_zeros_change_nothing() -> None:
    values = np.random.default_rng(13).normal(0.4, 1, 10)
    assert sign_flip_p(np.concatenate([values, np.zeros(100)])) == sign_flip_p(values)


@settings(max_examples=60, deadline=None)
@given(samples)
def test_p_values_are_probabilities_blind_to_the_sign(values: FloatArray) -> None:
    p = sign_flip_p(values, draws=512)
    assert 0 < p <= 1
    if np.count_nonzero(values) <= 9:
        assert sign_flip_p(-values, draws=512) == sign_flip_p(values[::-1] * 3, draws=512) == p


def test_false_positives_stay_at_the_level() -> None:
    random = np.random.default_rng(14)
    labels = np.repeat(np.arange(20), 3).tolist()

    def draw() -> FloatArray:
        values: FloatArray = random.normal(0, 0.3, 20)[labels] + random.normal(0, 0.1, 60)
        return values

    datasets = [draw() for _ in range(300)]
    clustered = [sign_flip_p(values, clusters=labels, draws=500) <= 0.05 for values in datasets]
    naive = [sign_flip_p(values, draws=500) <= 0.05 for values in datasets]
    assert np.mean(clustered) <= 0.085 and np.mean(naive) >= 0.15
