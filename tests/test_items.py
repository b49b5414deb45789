"""Finding choices in questions, and exchanging them."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comparisons.dataset.items import Item, Presentation, find_layout


def item(question: str, matching: str = "A", contrast: str = "B") -> Item:
    return Item.parse("test/0", question, matching, contrast)


def choices(question: str) -> list[tuple[str, str]]:
    return [(choice.letter, choice.text) for choice in item(question).choices]


@pytest.mark.parametrize(
    ("question", "stem", "expected"),
    [
        ("Why?\n\nChoices:\n (A) Yes\n (B) No", "Why?", ["Yes", "No"]),
        ("Why?\n\nChoices:\n(A) Yes\n(B) No", "Why?", ["Yes", "No"]),
        ("Why?\n (A) Yes\n (B) No", "Why?", ["Yes", "No"]),
        ("Why?\r\n\r\nChoices:\r\n (A) Yes\r\n (B) No\r\n", "Why?", ["Yes", "No"]),
        ("Why?\n\nChoices:\n (A) Yes:\n\n1. one\n2. two \n (B) No", "Why?", ["Yes:\n\n1. one\n2. two", "No"]),
        (
            "Why?\n\nChoices:\n (A) Yes, as in (B), below\n (B) No (A)",
            "Why?",
            ["Yes, as in (B), below", "No (A)"],
        ),
        ("Why?\n\nChoices:\n (A) Yes\n(C) or so\n (B) No", "Why?", ["Yes\n(C) or so", "No"]),
        ("Why?\n\nChoices:\n (A) \n (B) No", "Why?", ["", "No"]),
        ("Why?\n (A) Yes\n (B) No\n (C) Both\n (D) Don't know", "Why?", ["Yes", "No", "Both", "Don't know"]),
        ("Why?\n\nChoices:\n (A) Yes\n (B) No\n\nAssistant: I pick", "Why?", ["Yes", "No"]),
        (
            "Compare\n(A) a cat\n(B) a dog\n\nChoices:\n(A) x\n(B) y",
            "Compare\n(A) a cat\n(B) a dog",
            ["x", "y"],
        ),
    ],
)
def test_the_choices_of_a_question_are_found(question: str, stem: str, expected: list[str]) -> None:
    assert item(question).stem == stem
    assert choices(question) == list(zip("ABCDEFGH", expected, strict=False))


@pytest.mark.parametrize(
    "question",
    [
        "Why?",
        "Why? (A) Yes (B) No",
        "Why?\n (A) Yes",
        "Why?\n (B) Yes\n (C) No",
        "Why?\n (A) Yes\n (A) Perhaps\n (B) No",
        "Why?\n (A) Yes\n (B) Perhaps\n (B) No",
        "Take (A) or (B).\n(A) a cat\n(B) a dog\n (A) x\n (B) y",
    ],
)
def test_what_reads_in_no_way_or_in_several_is_shown_as_given_in_both_orders(question: str) -> None:
    unparsed = item(question)
    assert (unparsed.choices, unparsed.stem, unparsed.parsed) == ((), question, False)
    assert unparsed.present("swapped") == unparsed.present("given") == Presentation(question, "A", "B")


@pytest.mark.parametrize(
    "question",
    [
        "Why?\n (A) Yes\n (B) Yes",
        "Why?\n (A)  \n (B) No",
        "Why?\n (A) Yes\n(C) or so\n (B) No",  # exchanged, "(C) or so" would read as a third choice
        "Why?\n (A) Yes\nAnswer: no\n (B) No",  # exchanged, the text would end above its second line
    ],
)
def test_choices_that_cannot_be_exchanged_soundly_are_shown_as_given(question: str) -> None:
    found = item(question)
    assert len(found.choices) == 2
    assert not found.parsed
    assert found.present("swapped") == found.present("given")


def test_swapping_exchanges_two_of_many_texts_and_keeps_every_blank() -> None:
    given_text = "Why?\n\nChoices:\n (A)  Yes \n (B) No\n\n (C)\tNeither,\n nor \n (D) Both\n"
    swapped = item(given_text, "C", "A").present("swapped")
    assert swapped.question == "Why?\n\nChoices:\n (A)  Neither,\n nor \n (B) No\n\n (C)\tYes \n (D) Both\n"
    assert (swapped.matching, swapped.contrast) == ("A", "C")


def test_an_item_survives_pickling_after_use() -> None:
    used = item("Why?\n (A) Yes\n (B) No")
    used.present("swapped")
    assert pickle.loads(pickle.dumps(used)) == used


WORDS = st.text(st.sampled_from("abc é.,:'1\u2028"), min_size=1).filter(lambda text: bool(text.strip()))
BLANKS = st.text(st.sampled_from(" \t\n\r"), max_size=3)


@given(
    stem=WORDS,
    heading=st.sampled_from(["\n\nChoices:\n", "\n", "\r\n\r\nChoices:\r\n"]),
    texts=st.lists(st.lists(WORDS, min_size=1, max_size=3).map("\n".join), min_size=2, max_size=8, unique=True),
    indent=st.sampled_from(["", " ", "\t"]),
    end=BLANKS,
    draw=st.data(),
)
def test_swapping_twice_gives_the_original(
    stem: str, heading: str, texts: list[str], indent: str, end: str, draw: st.DataObject
) -> None:
    assume(len({text.strip() for text in texts}) == len(texts))
    letters = "ABCDEFGH"[: len(texts)]
    lines = [f"{indent}({letter}) {text}" for letter, text in zip(letters, texts, strict=True)]
    question = stem + heading + "\n".join(lines) + end
    matching, contrast = draw.draw(st.permutations(letters))[:2]
    original = item(question, matching, contrast)
    assert original.parsed
    assert [choice.text for choice in original.choices] == [text.strip() for text in texts]
    check_round_trip(original)


@given(
    question=st.lists(st.sampled_from([" (A) ", "(B)", "(C) ", "\n", "x", " y", "Choices:\n", "Answer:"])).map("".join)
)
def test_whatever_parses_goes_there_and_back(question: str) -> None:
    for matching, contrast in (("A", "B"), ("C", "B")):
        anything = item(question, matching, contrast)
        if anything.parsed:
            check_round_trip(anything)


def check_round_trip(original: Item) -> None:
    shown = original.present("swapped")
    back = item(shown.question, shown.matching, shown.contrast)
    assert back.present("swapped") == original.present("given")
    assert sorted(shown.question) == sorted(original.question)
    texts = {choice.letter: choice.text for choice in original.choices}
    exchanged = {choice.letter: choice.text for choice in back.choices}
    one, other = original.matching, original.contrast
    assert exchanged == {**texts, one: texts[other], other: texts[one]}
    assert find_layout(shown.question) is not None
