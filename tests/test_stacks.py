from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.method import Intervention, Method, Use
from comparisons.method.stacks import (
    Dose,
    StackElement,
    check_stack,
    check_strengths,
    leading,
    parse_stack,
    resolve,
    supporting,
)
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Dosed(Method):
    """Has a dose."""

    def intervene(self, use: Use) -> Intervention:
        return Intervention()


@dataclass(frozen=True)
class Plain(Dosed):
    """Has none."""

    dosed: ClassVar[bool] = False


@dataclass(frozen=True)
class Tuned(Dosed):
    """Brings an adapter."""

    adapts: ClassVar[bool] = True


CLASSES: dict[str, type[Method]] = {"vector": Dosed, "prompt": Plain, "tune": Tuned, "tune2": Tuned}

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
directions = st.sampled_from([None, "pos", "neg"])


def test_a_stack_keeps_its_label_and_its_elements_in_order() -> None:
    stack = parse_stack("tune:pos+vector+prompt:neg")

    assert stack.label == "tune:pos+vector+prompt:neg"
    assert stack.names == ("tune", "vector", "prompt")
    assert stack.elements == (
        StackElement("tune", "pos"),
        StackElement("vector"),
        StackElement("prompt", "neg"),
    )


@given(st.lists(st.tuples(names, directions), min_size=1, max_size=4, unique_by=lambda element: element[0]))
def test_what_is_written_is_what_is_read(elements: list[tuple[str, str | None]]) -> None:
    text = "+".join(name if direction is None else f"{name}:{direction}" for name, direction in elements)

    stack = parse_stack(text)

    assert stack.label == text
    assert [(e.name, e.direction) for e in stack.elements] == elements


@given(st.text(alphabet="ab+:-_ .,\n", max_size=12))
def test_any_text_is_a_stack_or_a_line_of_error(text: str) -> None:
    try:
        stack = parse_stack(text)
    except CompareError as error:
        assert "\n" not in str(error)
    else:
        assert len(set(stack.names)) == len(stack.names) == text.count("+") + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stack '' has an empty element: write names with one + between, such as a+b."),
        ("a++b", "stack 'a++b' has an empty element: write names with one + between, such as a+b."),
        ("a+", "stack 'a+' has an empty element: write names with one + between, such as a+b."),
        (
            "a + b",
            "stack 'a + b': 'a ' is no name: a letter, then letters, digits, - and _, without blanks.",
        ),
        (":pos", "stack ':pos': '' is no name: a letter, then letters, digits, - and _, without blanks."),
        (
            "a:pso",
            "unknown direction in stack 'a:pso': 'pso'. Did you mean pos? Known: neg, pos.",
        ),
        ("a:", "unknown direction in stack 'a:': ''. Known: neg, pos."),
        ("a+b+a", "stack 'a+b+a' holds a twice: name each method once."),
        ("a:pos+a:neg", "stack 'a:pos+a:neg' holds a twice: name each method once."),
    ],
)
def test_a_bad_stack_is_one_line(text: str, message: str) -> None:
    with pytest.raises(CompareError) as error:
        parse_stack(text)

    assert str(error.value) == message


def test_two_adapters_are_refused_before_anything_runs() -> None:
    check_stack(parse_stack("tune+vector+prompt"), CLASSES)

    with pytest.raises(CompareError) as error:
        check_stack(parse_stack("tune+vector+tune2"), CLASSES)

    assert str(error.value) == (
        "stack 'tune+vector+tune2' can hold one adapter, but tune and tune2 bring one each: leave one out."
    )


@pytest.mark.parametrize(
    ("text", "last", "others"),
    [
        ("vector", "vector", ()),
        ("tune+vector", "vector", ("tune",)),
        ("vector+tune+prompt", "tune", ("vector",)),
        ("prompt", None, ()),
    ],
)
def test_the_last_dosed_element_takes_the_strength(text: str, last: str | None, others: tuple[str, ...]) -> None:
    stack = parse_stack(text)

    assert leading(stack, CLASSES) == last
    assert supporting(stack, CLASSES) == others


def test_a_strength_that_no_stack_reads_is_refused() -> None:
    stacks = [parse_stack("tune"), parse_stack("tune+vector")]
    check_strengths(stacks, CLASSES, ["tune"])

    with pytest.raises(CompareError) as error:
        check_strengths(stacks, CLASSES, ["tune", "vector"])

    assert str(error.value) == (
        "--set vector.strength changes nothing: vector takes the run's strength wherever it stands; use --strengths."
    )


def test_each_element_gets_its_direction_and_its_dose() -> None:
    stack = parse_stack("tune:pos+vector+prompt")

    assert resolve(stack, CLASSES, "neg", 2.0) == (
        Dose("tune", "pos", 1.0),
        Dose("vector", "neg", 2.0),
        Dose("prompt", "neg", 1.0),
    )
    given_doses = resolve(stack, CLASSES, "neg", 0.0, {"tune": 0.5, "vector": 9.0})
    assert [dose.strength for dose in given_doses] == [0.5, 0.0, 1.0]
