"""Whatever is typed is read, or refused in one line, at once."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.api.arguments import run_options
from comparisons.experiment.limits import parse_limits
from comparisons.judges.free_answers import OpenEnded
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_parts, layer_ranges, layers_among

STRENGTHS, PRICE = run_options()["strengths"], run_options()["judge_price"]


@given(st.sets(st.integers(0, 40), min_size=1))
def test_layers_in_words_read_back(layers: set[int]) -> None:
    text = layer_ranges(layers).replace(" ", "")
    assert layers_among(layer_parts(text), range(41), "the model") == tuple(sorted(layers))


@given(st.text(alphabet="0123456789-, all.", max_size=14))
def test_any_text_is_layers_or_a_line_of_error(text: str) -> None:
    started = time.perf_counter()
    try:
        found = layers_among(layer_parts(text), range(8), "the model")
    except CompareError as error:
        assert "\n" not in str(error)
    else:
        assert found and set(found) <= set(range(8))
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("text", ["0-999999999999", "9" * 5000])
def test_layers_that_no_model_has_are_refused_at_once(text: str) -> None:
    with pytest.raises(CompareError, match="--layers takes"):
        layer_parts(text)


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_limits_read_back(limit: float) -> None:
    assert parse_limits(f"cost<={limit!r}") == {"cost": limit}


@given(st.text(max_size=12).map("cost<=".__add__) | st.text(max_size=12))
def test_any_text_is_a_limit_or_a_line_of_error(text: str) -> None:
    try:
        assert all(0 <= limit < math.inf for limit in parse_limits(text).values())
    except CompareError as error:
        assert "--select takes a limit" in str(error)


@given(st.text(alphabet="0123456789.,e- naif", max_size=12))
def test_any_text_is_strengths_or_a_line_of_error(text: str) -> None:
    try:
        found = STRENGTHS.read(text, "--strengths")
    except CompareError as error:
        assert "--strengths" in str(error)
    else:
        assert all(isinstance(each, float) for each in found)


@given(st.text(alphabet="0123456789./-+einfa ", max_size=10))
def test_any_text_is_a_price_or_a_line_of_error(text: str) -> None:
    try:
        found = OpenEnded(price=PRICE.read(text, "--judge-price"))
    except CompareError as error:
        assert "--judge-price takes two prices" in str(error)
    else:
        assert found.price is not None and all(0 <= each < math.inf for each in found.price)
