"""Seeds of fits: their part of the variance against two-way mean squares, and what it does to contrasts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from comparisons.stats import (
    NO_ERROR,
    FloatArray,
    Interval,
    SeedSpread,
    SharedError,
    contrasts,
    seed_error,
    seed_spread,
    standard_error,
)

DRAWS = 499


def fits_of(
    random: np.random.Generator, seeds: int, questions: FloatArray, deviation: float, own: float = 0.03
) -> FloatArray:
    """[seeds, items]: the questions' values, a step of each seed, and noise of each seed and item."""
    steps = random.normal(0, deviation, (seeds, 1))
    fits: FloatArray = questions + steps + random.normal(0, own, (seeds, len(questions)))
    return fits


def mean_squares(fits: FloatArray) -> tuple[float, float, float]:
    """MS_seed, MS_q and MS_e of the two-way layout with one value a place, summed place by place."""
    seeds, items = fits.shape
    mean = fits.mean()
    of_seeds = items * sum((row.mean() - mean) ** 2 for row in fits) / (seeds - 1)
    of_items = seeds * sum((column.mean() - mean) ** 2 for column in fits.T) / (items - 1)
    rest = sum(
        (fits[s, q] - fits[s].mean() - fits[:, q].mean() + mean) ** 2 for s in range(seeds) for q in range(items)
    )
    return of_seeds, of_items, rest / (seeds - 1) / (items - 1)


def test_the_parts_are_those_of_the_two_way_layout() -> None:
    random = np.random.default_rng(0)
    fits = fits_of(random, 4, random.normal(0.1, 0.2, 30), 0.05)
    of_seeds, of_items, rest = mean_squares(fits)
    spread, error = seed_spread(fits), standard_error(fits.mean(axis=0))
    assert spread is not None and error is not None
    assert spread.between == pytest.approx(of_seeds / 120)
    assert spread.rest == pytest.approx(rest / 120)
    assert error**2 + spread.added == pytest.approx((of_seeds + of_items - rest) / 120)
    assert spread.deviation == pytest.approx(math.sqrt((of_seeds - rest) / 30))


def test_clusters_of_one_size_are_items_of_their_means_and_what_a_fit_lacks_counts_in_none() -> None:
    random = np.random.default_rng(1)
    fits = fits_of(random, 3, random.normal(0, 0.2, 24), 0.05)
    clusters = [i // 4 for i in range(24)]
    assert seed_spread(fits, clusters=clusters) == pytest.approx(seed_spread(fits.reshape(3, 6, 4).mean(axis=2)))
    gone = fits.copy()
    gone[1, 3] = np.nan
    assert seed_spread(gone) == seed_spread(np.delete(fits, 3, axis=1))


def test_of_one_fit_nothing_is_known_and_fits_that_are_alike_add_nothing() -> None:
    values = np.random.default_rng(2).normal(size=20)
    assert seed_spread(values[None]) is None
    assert seed_spread(np.tile(values, (3, 1)), clusters=["a"] * 20) is None
    same = seed_spread(np.tile(values, (3, 1)))
    assert same is not None and same.added == same.deviation == 0.0
    assert seed_error([None, None]) == seed_error([]) == NO_ERROR
    table = np.stack([values, values + 0.3, values**2])
    plain = contrasts(table, draws=DRAWS)
    assert contrasts(table, seeds=[None] * 3, draws=DRAWS) == plain


def test_two_methods_seeds_are_pooled_by_satterthwaite() -> None:
    one, two = SeedSpread(3, 4.0, 1.0), SeedSpread(5, 2.0, 0.5)
    both = seed_error([one, two])
    assert both.deviation == pytest.approx(math.sqrt(3.0 + 1.5))
    assert both.freedom == pytest.approx(36 / (16 / 2 + 4 / 4))
    alone = seed_error([one, None])
    assert (alone.deviation, alone.freedom) == pytest.approx((math.sqrt(3), 2))
    assert alone.half(0.05) == pytest.approx(student.ppf(0.975, 2) * math.sqrt(3))


def test_intervals_and_p_values_widen_together() -> None:
    error = SharedError(0.02, 2.0)
    wide = error.widened(Interval(0.05, 0.17), 0.1)
    half = student.ppf(0.975, 2) * 0.02
    assert wide == pytest.approx((0.1 - math.hypot(0.05, half), 0.1 + math.hypot(0.07, half)))
    assert NO_ERROR.widened(Interval(0.05, 0.17), 0.1) == (0.05, 0.17)
    # A mean of two and a half standard errors, whose interval with the seeds' error just reaches 0.
    questions = 0.04
    level = error.p_value(0.1, 2 * student.sf(2.5, 1e9))
    z = -student.ppf(level / 2, 1e9)
    assert math.hypot(z * questions, -student.ppf(level / 2, 2) * 0.02) == pytest.approx(0.1)
    assert NO_ERROR.p_value(0.1, 0.01) == 0.01
    assert error.p_value(0.1, 1.0) == error.p_value(0.0, 1.0) == 1.0


def test_a_contrast_averages_fits_within_an_item_and_adds_both_methods_seeds() -> None:
    random = np.random.default_rng(3)
    questions = random.normal(0.1, 0.2, 40)
    a, b = fits_of(random, 3, questions + 0.2, 0.05), fits_of(random, 4, questions, 0.05)
    table = np.stack([a.mean(axis=0), b.mean(axis=0)])
    (plain,), seeds = contrasts(table, draws=DRAWS), [seed_spread(a), seed_spread(b)]
    (found,) = contrasts(table, seeds=seeds, draws=DRAWS)
    assert (found.difference, found.error, found.count) == (plain.difference, plain.error, plain.count)
    for narrow, wide, p in (
        (plain.interval, found.interval, 0.05),
        (plain.near, found.near, 0.1),
        (plain.simultaneous, found.simultaneous, 0.05),
    ):
        assert narrow is not None and wide is not None
        half = math.hypot((narrow.high - narrow.low) / 2, seed_error(seeds).half(p))
        assert (wide.high - wide.low) / 2 == pytest.approx(half, rel=0.02)
    assert found.p_adjusted is not None and plain.p_adjusted is not None and found.p_adjusted >= plain.p_adjusted


def test_with_seeds_too_a_p_value_of_at_most_5_percent_is_an_interval_without_0() -> None:
    told = 0
    for run in range(20):
        random = np.random.default_rng(run)
        questions = random.normal(0.1, 0.2, 24)
        cells = [fits_of(random, 3, questions + 0.08 * i, 0.02) for i in range(4)]
        table = np.stack([fits.mean(axis=0) for fits in cells])
        spreads = [seed_spread(fits) if i else None for i, fits in enumerate(cells)]
        for found in contrasts(table, seeds=spreads, draws=199, seed=run):
            assert found.simultaneous is not None and found.interval is not None and found.p_adjusted is not None
            leaves_out = found.simultaneous.low > 0 or found.simultaneous.high < 0
            assert leaves_out == (found.p_adjusted <= 0.05)
            assert found.simultaneous.low <= found.interval.low <= found.interval.high <= found.simultaneous.high
            told += leaves_out
    assert 10 < told < 110


def test_where_seeds_differ_more_than_the_methods_no_number_of_questions_tells_them_apart() -> None:
    random = np.random.default_rng(5)
    questions = random.normal(0.1, 0.2, 60)
    a, b = (fits_of(random, 3, questions + step, 0.1) for step in (0.02, 0.0))
    table = np.stack([a.mean(axis=0), b.mean(axis=0)])
    (found,) = contrasts(table, seeds=[seed_spread(a), seed_spread(b)], draws=DRAWS)
    assert found.verdict(0.02) == "undecided"
    assert found.items_needed(0.02, 1) is None
    assert contrasts(table, draws=DRAWS)[0].items_needed(0.02, 1) is not None


def test_one_method_is_not_told_apart_from_itself_by_other_seeds() -> None:
    """Fits that differ more than the questions' standard error, as SmolLM2's did: .0084 and .0054."""
    wrong = np.zeros(2)
    for run in range(200):
        random = np.random.default_rng(run)
        questions = random.normal(0.04, 0.0054 * math.sqrt(50), 50)
        fits = fits_of(random, 6, questions, 0.0084, 0.02)
        table = np.stack([fits[:3].mean(axis=0), fits[3:].mean(axis=0)])
        spreads = [seed_spread(fits[:3]), seed_spread(fits[3:])]
        for place, seeds in enumerate((spreads, None)):
            (found,) = contrasts(table, seeds=seeds, draws=199, seed=run)
            assert found.simultaneous is not None
            wrong[place] += not found.simultaneous.low <= 0 <= found.simultaneous.high
    assert wrong[0] / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert wrong[1] / 200 > 0.2  # as if there were no seeds
