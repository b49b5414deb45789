"""Content and letter apart, and the flips of preferred answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from comparisons.stats import anti_steerable, content_and_letter, letter_bias, mcnemar
from comparisons.stats.counts import coin_p
from comparisons.util.errors import CompareError

numbers = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
truths = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=20))
def test_content_and_letter_are_recovered(items: list[tuple[float, float, bool]]) -> None:
    content, letter = np.array([item[0] for item in items]), np.array([item[1] for item in items])
    matching_is_first = np.array([item[2] for item in items])
    # The first letter's pull helps the matching answer where it stands first, and hinders it once exchanged.
    pull = np.where(matching_is_first, letter, -letter)
    found = content_and_letter(content + pull, content - pull, matching_is_first)
    assert found[0] == pytest.approx(content) and found[1] == pytest.approx(letter)


def test_a_model_that_always_answers_the_first_letter_has_letter_only() -> None:
    content, letter = content_and_letter(np.array([2.0, -2.0]), np.array([-2.0, 2.0]), [True, False])
    assert content.tolist() == [0.0, 0.0] and letter.tolist() == [2.0, 2.0]


def test_letter_bias_is_signed() -> None:
    assert letter_bias(np.array([0.9, 0.7])) == pytest.approx(0.3)
    assert letter_bias(np.array([[0.2, 0.8], [0.1, 0.3]])) == pytest.approx(-0.15)


def test_anti_steerable_counts_strict_moves_the_wrong_way() -> None:
    shift = np.array([1.0, 0.5, 0.0, -0.1, -2.0])
    assert anti_steerable(shift, "pos") == pytest.approx(0.4)
    assert anti_steerable(shift, "neg") == pytest.approx(0.4)
    assert anti_steerable(np.zeros(5), "neg") == 0.0
    with pytest.raises(CompareError, match="unknown direction 'up'"):
        anti_steerable(shift, "up")  # type: ignore[arg-type]


# McNemar


def answers(gained: int, lost: int, stayed: int = 0) -> tuple[list[bool], list[bool]]:
    return [False] * gained + [True] * (lost + stayed), [True] * gained + [False] * lost + [True] * stayed


@given(truths)
def test_mcnemar_is_the_binomial_test_of_the_discordant_items(items: list[tuple[bool, bool]]) -> None:
    baseline, cell = (np.array(side) for side in zip(*items, strict=True))
    found = mcnemar(baseline, cell)
    assert found.gained - found.lost == int(cell.sum()) - int(baseline.sum())
    flips = found.gained + found.lost
    expected = float(scipy_stats.binomtest(found.gained, flips).pvalue) if flips else 1.0
    assert found.p_value == pytest.approx(expected)
    assert mcnemar(cell, baseline) == (found.lost, found.gained, found.p_value)


@pytest.mark.parametrize("mid_p", [False, True])
@pytest.mark.parametrize(
    ("heads", "throws"), [(0, 1), (0, 10), (5, 10), (1, 4), (7, 10), (558, 815), (49_500, 100_000)]
)
def test_the_p_value_of_a_coin_is_scipys_also_of_many_throws(heads: int, throws: int, mid_p: bool) -> None:
    least = min(heads, throws - heads)
    expected = 2 * scipy_stats.binom.cdf(least, throws, 0.5) - mid_p * scipy_stats.binom.pmf(least, throws, 0.5)
    assert coin_p(heads, throws, mid_p) == pytest.approx(min(1.0, expected), rel=1e-8)


@pytest.mark.parametrize(("gained", "lost"), [(9, 1), (3, 3), (0, 4), (40, 25), (900, 700)])
def test_the_mid_p_value_counts_the_observed_table_by_half(gained: int, lost: int) -> None:
    baseline, cell = answers(gained, lost, stayed=7)
    found = mcnemar(baseline, cell, mid_p=True)
    tail = scipy_stats.binom.cdf(min(gained, lost), gained + lost, 0.5)
    here = scipy_stats.binom.pmf(min(gained, lost), gained + lost, 0.5)
    assert found[:2] == (gained, lost) and found.p_value == pytest.approx(min(1.0, float(2 * tail - here)))
    assert found.p_value <= mcnemar(baseline, cell).p_value


def test_known_flips() -> None:
    assert mcnemar(*answers(5, 0)) == (5, 0, 2 / 32)
    assert mcnemar(*answers(0, 0, stayed=3)) == (0, 0, 1.0)
    assert mcnemar(*answers(0, 0, stayed=3), mid_p=True).p_value == 1.0
    assert 0 < mcnemar(*answers(1100, 900)).p_value < 1e-4  # 2**2000 is no float


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: content_and_letter(np.zeros(2), np.zeros(3), [True, True]), "items don't match"),
        (lambda: letter_bias(np.array([])), "p_first"),
        (lambda: anti_steerable(np.array([np.nan]), "pos"), "content_shift"),
        (lambda: mcnemar([True], [True, False]), r"\(1,\) and \(2,\)"),
        (lambda: mcnemar([], []), "one truth value an item"),
        (lambda: mcnemar([0.4, 0.6], [True, False]), "not float64 and bool"),
    ],
)
def test_bad_arrays_are_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
