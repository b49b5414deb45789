"""The corrections of a whole table: Holm by hand, max-T against enumeration, simulation and its invariances."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comparisons.stats import FloatArray, holm, max_t, sign_flip_p

probabilities = st.floats(0, 1, allow_subnormal=False)
tables = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.integers(-9, 9).map(float))


# Holm


def test_holm_by_hand() -> None:
    # Sorted: 0.005 × 4, 0.01 × 3, 0.03 × 2, 0.04 × 1, which may not fall below the 0.06 before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9, 0.5]) == [1.0, 1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_failed_cells_stay_out_of_the_family() -> None:
    adjusted = holm([0.01, None, 0.04, math.nan, 0.03, 0.005])
    assert adjusted[1] is None and adjusted[3] is not None and math.isnan(adjusted[3])
    assert [adjusted[index] for index in (0, 2, 4, 5)] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, None]) == [None, None]


@given(st.lists(probabilities, min_size=1, max_size=20))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = [p for p in holm(p_values) if p is not None]
    for raw, p in zip(p_values, adjusted, strict=True):
        assert raw <= p <= min(1.0, max(raw, raw * len(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


# Max-T


def by_enumeration(table: FloatArray) -> list[float]:
    """Step-down max-T written out: every pattern of signs, every cell, one at a time."""
    sizes = np.sqrt((table**2).sum(axis=1))
    statistic = [abs(row.sum()) / size if size else 0.0 for row, size in zip(table, sizes, strict=True)]
    order = sorted(range(len(table)), key=lambda cell: -statistic[cell])
    adjusted, largest = {}, 0.0
    for rank, cell in enumerate(order):
        reached = []
        for signs in product([1, -1], repeat=table.shape[1]):
            rest = [abs(table[c] @ signs) / sizes[c] if sizes[c] else 0.0 for c in order[rank:]]
            reached.append(max(rest) >= statistic[cell] - 1e-9)
        largest = max(largest, float(np.mean(reached)))
        adjusted[cell] = largest
    return [adjusted[cell] for cell in range(len(table))]


@settings(max_examples=40, deadline=None)
@given(tables)
def test_max_t_equals_the_definition(table: FloatArray) -> None:
    assert max_t(table) == pytest.approx(by_enumeration(table))


def found(table: FloatArray, clusters: list[int] | None = None, draws: int = 100_000, seed: int = 0) -> list[float]:
    adjusted = max_t(table, clusters=clusters, draws=draws, seed=seed)
    assert None not in adjusted
    return [p for p in adjusted if p is not None]


def test_a_single_cell_keeps_its_raw_p_value() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 12)
    assert found(values[None]) == [sign_flip_p(values)]


def test_equal_cells_cost_nothing_where_holm_pays_for_each() -> None:
    values = np.random.default_rng(2).normal(0.5, 1, 14)
    raw = sign_flip_p(values)
    assert found(np.stack([values, values * 3, -values])) == pytest.approx([raw] * 3)
    assert holm([raw] * 3) == pytest.approx([3 * raw] * 3)


def test_independent_cells_cost_about_what_holm_asks() -> None:
    random = np.random.default_rng(3)
    table = random.normal(0, 1, (6, 200)) + np.linspace(0, 0.22, 6)[:, None]
    raw = [sign_flip_p(row, draws=20_000) for row in table]
    by_max_t, by_holm = np.array(found(table, draws=20_000)), np.array(holm(raw), float)
    small = by_holm < 0.2
    assert small.sum() >= 2 and by_max_t[small] == pytest.approx(by_holm[small], abs=0.02)
    assert (by_max_t <= by_holm + 0.01).all() and (by_max_t >= np.array(raw) - 0.01).all()


def test_drawn_patterns_agree_with_all_of_them() -> None:
    table = np.random.default_rng(4).normal(0.4, 1, (4, 14))
    exact = found(table)
    drawn = found(table, draws=2**14 - 1, seed=5)
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.02)
    assert drawn == found(table, draws=2**14 - 1, seed=5) != found(table, draws=2**14 - 1, seed=6)
    assert min(found(np.ones((2, 40)), draws=99)) == 1 / 100


def test_clusters_flip_together() -> None:
    random = np.random.default_rng(6)
    labels = np.repeat(np.arange(9), 3).tolist()
    table = random.normal(0.3, 1, (3, 9))
    assert found(np.repeat(table, 3, axis=1), labels) == pytest.approx(found(table))
    assert found(np.repeat(table, 3, axis=1), [*range(27)]) != pytest.approx(found(table), abs=0.01)


def test_items_that_a_cell_lacks_say_nothing_of_it() -> None:
    table = np.random.default_rng(7).normal(0.4, 1, (2, 12))
    table[1, 8:] = np.nan
    assert found(table)[1] >= sign_flip_p(table[1, :8])
    filled = np.where(np.isnan(table), 0.0, table)
    assert found(table) == found(filled)
    assert max_t(np.stack([table[0], np.full(12, np.nan)])) == [sign_flip_p(table[0]), None]


def test_no_variance_is_no_evidence_or_all_of_it() -> None:
    table = np.stack([np.zeros(10), np.full(10, 0.1), np.array([0.1, 0.2, -0.3, 0, 0, 0, 0, 0, 0, 0])])
    assert found(table) == [1.0, 2 / 2**10, 1.0]
    cancelling = np.array([[0.1, 0.2, -0.3] * 9])  # each cluster sums to 5e-17
    assert found(cancelling, np.repeat(np.arange(9), 3).tolist()) == [1.0]


@settings(max_examples=40, deadline=None)
@given(tables, st.sampled_from([1e-200, 0.25, 8.0]), st.integers(0, 4))
def test_scale_sign_and_order_of_the_cells_change_nothing(table: FloatArray, scale: float, turn: int) -> None:
    plain = found(table)
    assert found(-table * scale) == pytest.approx(plain)
    assert found(np.roll(table, turn, axis=0)) == pytest.approx(np.roll(plain, turn))
    assert all(0 < p <= 1 for p in plain)


def test_max_t_finds_more_than_holm_where_cells_are_alike() -> None:
    random = np.random.default_rng(8)
    shared = random.normal(0.25, 1, (60, 50))
    table = [s + random.normal(0, 0.3, (8, 50)) for s in shared]
    by_max_t = np.mean([np.array(found(cells, draws=499)) <= 0.05 for cells in table])
    by_holm = np.mean(
        [np.array(holm([sign_flip_p(row, draws=499) for row in cells]), float) <= 0.05 for cells in table]
    )
    assert by_max_t > by_holm + 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: holm([0.1, 1.2]), "p-value 1 is 1.2"),
        (lambda: max_t([[]]), "cells must be"),
        (lambda: max_t([0.1, 0.2]), r"\(2,\)"),
        (lambda: max_t([[0.1, math.inf]]), "infinity at cell 0, item 1"),
        (lambda: max_t([[0.1, 0.2]], clusters=["a"]), "1 cluster labels for 2 items"),
        (lambda: max_t([[0.1, 0.2]], draws=0), "draws"),
    ],
)
def test_bad_tables_are_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
