"""Settings as they are typed, METHOD.FIELD=VALUE, and as Python gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.method.settings import (
    expand,
    parse_set_options,
    parse_settings,
    parse_strength,
    setting_texts,
)
from comparisons.util.errors import CompareError
from tests.test_settings import Base, Kinds


def test_set_options_are_sorted_by_method_and_setting() -> None:
    options = ["caa.layer=1,2", "caa.fit_on=stack", " sft . epochs = 3 , 4 ", "x.path=a=b"]

    assert parse_set_options(options) == {
        "caa": {"layer": ["1", "2"], "fit_on": ["stack"]},
        "sft": {"epochs": ["3", "4"]},
        "x": {"path": ["a=b"]},
    }
    assert parse_set_options([]) == {}


@pytest.mark.parametrize(
    "option",
    ["", "caa", "caa.layer", "caa=1", ".layer=1", "caa.=1", "caa.layer=", "caa.layer=1,,2", "caa.layer=1,"],
)
def test_an_option_of_another_form_is_refused(option: str) -> None:
    with pytest.raises(CompareError) as error:
        parse_set_options([option])

    assert str(error.value) == f"--set {option!r} can't be read: write METHOD.FIELD=VALUE[,VALUE…]."


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(CompareError) as error:
        parse_set_options(["caa.layer=1", "caa.layer=2"])
    assert str(error.value) == "--set caa.layer is given twice: list its values once, with commas."
    with pytest.raises(CompareError) as error:
        parse_set_options(["caa.layer=1,2,1"])
    assert str(error.value) == "--set 'caa.layer=1,2,1' holds '1' twice: name each value once."


def test_a_list_in_a_list_is_one_value_in_python() -> None:
    """And one in the place of a value is several values, as a comma makes them in a shell."""
    assert setting_texts({"sft.target_modules": ["q_proj", "v_proj"]}) == {
        "sft": {"target_modules": ["q_proj", "v_proj"]}
    }
    assert setting_texts({"sft.target_modules": [["q_proj", "v_proj"]]}) == {
        "sft": {"target_modules": ["q_proj+v_proj"]}
    }
    given = {"sft.target_modules": [("q_proj", "v_proj"), "all-linear"], "x.sizes": [[1, 2], [3]]}
    typed = ["sft.target_modules=q_proj+v_proj,all-linear", "x.sizes=1+2,3"]
    assert setting_texts(given) == parse_set_options(typed)
    with pytest.raises(CompareError, match="its parts hold no"):
        setting_texts({"x.names": [["a+b", "c"]]})
    assert setting_texts({"x.names": [[]]}) == {"x": {"names": [""]}}


words = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)


values = st.lists(words, min_size=1, max_size=3, unique=True)


@given(st.dictionaries(words, st.dictionaries(words, values, min_size=1, max_size=3), max_size=3))
def test_options_read_back(settings: dict[str, dict[str, list[str]]]) -> None:
    options = [f"{m}.{f}={','.join(v)}" for m, fields in settings.items() for f, v in fields.items()]

    assert parse_set_options(options) == settings


def test_a_list_of_values_multiplies() -> None:
    assert expand({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]
    nothing: dict[str, list[str]] = {}
    assert expand(nothing) == [{}]


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "much", ""])
def test_a_strength_is_finite_and_not_negative(text: str) -> None:
    assert parse_strength(Kinds, "0.5", "kinds") == 0.5
    assert parse_strength(Kinds, "0", "kinds") == 0.0

    with pytest.raises(CompareError) as error:
        parse_strength(Kinds, text, "kinds")

    assert str(error.value) == (f"kinds.strength={text!r} is not valid: use a finite number of at least 0.")


def test_a_method_without_a_dose_takes_no_strength() -> None:
    @dataclass(frozen=True)
    class Plain(Base):
        """Has no dose."""

        dosed: ClassVar[bool] = False

    with pytest.raises(CompareError) as error:
        parse_strength(Plain, "1", "plain")
    assert str(error.value) == "plain.strength='1' means nothing, plain has no dose: leave it out."

    with pytest.raises(CompareError, match="Known: none"):
        parse_settings(Plain, {"strength": "1"}, "plain")
