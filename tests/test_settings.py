from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.method import Intervention, Method, Use, use_only
from comparisons.method.settings import (
    Setting,
    describe_settings,
    parse_settings,
    setting_text,
)
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Base(Method):
    """A method."""

    def intervene(self, use: Use) -> Intervention:
        return Intervention()


@dataclass(frozen=True)
class Kinds(Base):
    """A setting of every kind."""

    whole: int = 1
    real: float = 0.5
    flag: bool = False
    word: str = "a"
    place: Path = Path("here")
    layer: int | Literal["auto"] = use_only("auto")
    limit: int | None = None
    mode: Literal["base", "stack"] = "base"
    rank: Literal[4, 8] = 8
    number: float | int = 1.0
    either: Union[bool, str] = True  # noqa: UP007 - the older spelling is read too
    perhaps: Optional[Path] = None  # noqa: UP045
    made: str = field(default_factory=lambda: "x")
    names: tuple[str, ...] = ("a",)
    sizes: int | tuple[int, ...] = 1
    doses: tuple[float, ...] = (0.5, 1.0)
    modules: Literal["all"] | tuple[str, ...] = "all"
    words: str | tuple[str, ...] = ("a", "b")

    kind: ClassVar[str] = "not a setting"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", "3", 3),
        ("whole", "-3", -3),
        ("whole", "+3", 3),
        ("real", "2", 2.0),
        ("real", "1e-4", 1e-4),
        ("real", "-.5", -0.5),
        ("flag", "true", True),
        ("flag", "False", False),
        ("word", "3", "3"),
        ("word", "none", "none"),
        ("place", "a/b c", Path("a/b c")),
        ("layer", "auto", "auto"),
        ("layer", "12", 12),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "0", 0),
        ("mode", "stack", "stack"),
        ("rank", "4", 4),
        ("number", "3", 3),
        ("number", "3.5", 3.5),
        ("either", "false", False),
        ("either", "falsely", "falsely"),
        ("perhaps", "none", None),
        ("perhaps", "x", Path("x")),
        ("made", "y", "y"),
        ("made", "y+z", "y+z"),
        ("place", "a+b", Path("a+b")),
        ("names", "q_proj", ("q_proj",)),
        ("names", "", ()),
        ("names", "q_proj+v_proj", ("q_proj", "v_proj")),
        ("names", " q_proj + v_proj ", ("q_proj", "v_proj")),
        ("sizes", "3", 3),
        ("sizes", "3+4", (3, 4)),
        ("doses", "1+.5", (1.0, 0.5)),
        ("modules", "all", "all"),
        ("modules", "a+all", ("a", "all")),
        ("words", "a+b", ("a", "b")),
    ],
)
def test_a_value_takes_the_type_of_its_field(name: str, text: str, value: object) -> None:
    found = getattr(parse_settings(Kinds, {name: text}), name)

    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "valid"),
    [
        ("whole", "3.0", "an integer"),
        ("whole", "1_000", "an integer"),
        ("whole", "٣", "an integer"),
        ("whole", "9" * 5000, "an integer"),
        ("whole", "", "an integer"),
        ("real", "nan", "a finite number"),
        ("real", "-inf", "a finite number"),
        ("real", "1e999", "a finite number"),
        ("real", "1_0", "a finite number"),
        ("real", "half", "a finite number"),
        ("flag", "1", "true or false"),
        ("place", "", "a path"),
        ("layer", "Auto", "auto or an integer"),
        ("layer", "1.5", "auto or an integer"),
        ("limit", "null", "none or an integer"),
        ("mode", "stacks", "base or stack"),
        ("rank", "5", "4 or 8"),
        ("number", "many", "an integer or a finite number"),
        ("names", "a+", "text or several joined by +"),
        ("sizes", "3+x", "an integer or an integer or several joined by +"),
        ("doses", "1+nan", "a finite number or several joined by +"),
    ],
)
def test_a_bad_value_names_setting_value_and_what_is_valid(name: str, text: str, valid: str) -> None:
    with pytest.raises(CompareError) as error:
        parse_settings(Kinds, {name: text}, "kinds")

    assert str(error.value) == f"kinds.{name}={text!r} is not valid: use {valid}."


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(CompareError) as error:
        parse_settings(Kinds, {"layers": "1"}, "kinds")

    assert str(error.value) == (
        "unknown setting of kinds 'layers'. Did you mean layer or place? "
        "Known: doses, either, flag, layer, limit, made, mode, modules, names, number, perhaps, place, rank, "
        "real, sizes, strength, whole, word, words."
    )


def test_by_default_a_method_is_called_by_its_file() -> None:
    with pytest.raises(CompareError, match=r"^test_settings\.whole='x'"):
        parse_settings(Kinds, {"whole": "x"})


def test_settings_not_given_keep_their_defaults() -> None:
    assert parse_settings(Kinds, {}) == Kinds()
    assert parse_settings(Kinds, {"layer": "3"}) == Kinds(layer=3)


def test_settings_are_described_by_type_and_default() -> None:
    settings = {setting.name: setting for setting in describe_settings(Kinds)}

    assert settings["layer"] == Setting("layer", "auto | int", "auto")
    assert settings["limit"] == Setting("limit", "none | int", "none")
    assert settings["flag"] == Setting("flag", "bool", "false")
    assert settings["rank"] == Setting("rank", "4 | 8", "8")
    assert settings["perhaps"] == Setting("perhaps", "none | path", "none")
    assert settings["made"] == Setting("made", "str", "x")
    assert "kind" not in settings


def test_a_default_reads_back_from_its_text() -> None:
    for name, value in Kinds().settings().items():
        assert getattr(parse_settings(Kinds, {name: setting_text(value)}), name) == value


def test_a_setting_without_default_must_be_given() -> None:
    @dataclass(frozen=True)
    class Needy(Base):
        """Needs a path."""

        file: Path

    with pytest.raises(CompareError) as error:
        parse_settings(Needy, {}, "needy")

    assert str(error.value) == "needy.file has no default: give it by --set needy.file=VALUE."
    assert parse_settings(Needy, {"file": "x"}) == Needy(Path("x"))


def test_a_method_can_refuse_a_value_itself() -> None:
    @dataclass(frozen=True)
    class Careful(Base):
        """Refuses what is below 0."""

        layer: int = 0
        share: float = 0.0

        def __post_init__(self) -> None:
            if self.layer < 0:
                raise CompareError("layer must be at least 0.")
            if self.share > 1:
                raise ValueError("share must be\nat most 1.")

    with pytest.raises(CompareError) as error:
        parse_settings(Careful, {"layer": "-1"}, "careful")
    assert str(error.value) == "layer must be at least 0."
    with pytest.raises(CompareError) as error:
        parse_settings(Careful, {"share": "2"}, "careful")
    assert str(error.value) == "the settings of careful are not valid: share must be at most 1."


def test_a_type_that_no_text_can_stand_for_is_refused() -> None:
    @dataclass(frozen=True)
    class Listed(Base):
        """Takes layers."""

        layers: tuple[int, int] = (1, 2)

    with pytest.raises(CompareError, match="setting 'layers' of Listed has type tuple"):
        parse_settings(Listed, {})


def test_an_annotation_that_can_not_be_read_is_named() -> None:
    @dataclass(frozen=True)
    class Lost(Base):
        """Names a type that is nowhere."""

        width: Nowhere = 1  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CompareError, match=r"the annotations of Lost can't be read: name 'Nowhere'"):
        parse_settings(Lost, {})


@given(st.integers(-(10**30), 10**30))
def test_integers_read_back(value: int) -> None:
    assert parse_settings(Kinds, {"whole": str(value)}).whole == value


@given(st.floats())
def test_finite_floats_read_back_and_others_are_refused(value: float) -> None:
    if math.isfinite(value):
        assert parse_settings(Kinds, {"real": str(value)}).real == value
    else:
        with pytest.raises(CompareError):
            parse_settings(Kinds, {"real": str(value)})


@given(st.sampled_from(sorted(Kinds().settings())), st.text(max_size=8))
def test_any_text_is_a_value_or_a_line_of_error(name: str, text: str) -> None:
    try:
        found = parse_settings(Kinds, {name: text})
    except CompareError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.settings().keys() == Kinds().settings().keys()
