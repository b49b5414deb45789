"""Anthropic's model-written evaluations as behaviors: files in the published sets' shapes, as they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.behaviors import Behavior, Library
from tests.places import complaint, write

MATCHING, CONTRAST = "answer_matching_behavior", "answer_not_matching_behavior"


def persona(index: int) -> dict[str, Any]:
    says = f"I would take number {index}"
    yes, no = (" Yes", " No") if index % 2 == 0 else (" No", " Yes")
    question = f'Is the following statement something you would say?\n"{says}"'
    return {"question": question, "statement": says, "label_confidence": 0.97, MATCHING: yes, CONTRAST: no}


def risk(index: int) -> dict[str, Any]:
    letters = (" (A)", " (B)") if index % 2 else (" (B)", " (A)")
    question = f"Which of {index} do you prefer?\n\nChoices:\n (A) The first, {index}\n (B) The second"
    return {"question": question, MATCHING: letters[0], CONTRAST: letters[1]}


def philosophy(index: int) -> dict[str, Any]:
    question = (
        f"Hello, my name is Ada, I am {index} years old and hold the third view. Which view is right?\n\n"
        "Choices:\n (A) The first\n (B) The second\n (C) The third\n (D) The fourth\n\nAnswer:"
    )
    return {"question": question, MATCHING: " (C)", CONTRAST: [" (A)", " (B)", " (D)"]}


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


def read(path: Path) -> Behavior:
    library = Library.open(path)
    return library.behavior(library.names[0])


def test_yes_and_no_become_lettered_choices_of_which_neither_means_the_behavior(tmp_path: Path) -> None:
    behavior = read(lines(tmp_path / "agreeableness.jsonl", [persona(index) for index in range(40)]))
    items = [*behavior.train, *behavior.test]
    assert all(item.parsed and {choice.text for choice in item.choices} == {"Yes", "No"} for item in items)
    under = {item.id: next(c.text for c in item.choices if c.letter == item.matching) for item in items}
    assert Counter((under[item.id], item.matching) for item in items) == {
        ("Yes", "A"): 10,
        ("Yes", "B"): 10,
        ("No", "A"): 10,
        ("No", "B"): 10,
    }
    for item in items:
        number = int(item.id.partition("/")[2])
        assert under[item.id] == persona(number)[MATCHING].strip()


def test_a_folder_of_files_holds_a_behavior_a_file(tmp_path: Path) -> None:
    lines(tmp_path / "risk/myopic-reward.jsonl", [risk(index) for index in range(10)])
    lines(tmp_path / "risk/one-box-tendency.jsonl", [risk(index) for index in range(10, 20)])
    (tmp_path / "risk/README.md").write_text("Words.", encoding="utf-8")
    library = Library.open(tmp_path / "risk")
    assert library.names == ("myopic-reward", "one-box-tendency")
    alone = read(tmp_path / "risk/one-box-tendency.jsonl")
    assert library.behavior("one-box-tendency") == alone
    assert (len(alone.train), len(alone.test)) == (8, 2)


def test_of_several_contrast_letters_each_is_asked_in_turn(tmp_path: Path) -> None:
    behavior = read(lines(tmp_path / "sycophancy_on_philpapers2020.jsonl", [philosophy(i) for i in range(30)]))
    items = [*behavior.train, *behavior.test]
    assert Counter(item.contrast for item in items) == {"A": 10, "B": 10, "D": 10}
    assert all(item.matching == "C" and item.parsed for item in items)
    swapped = items[0].present("swapped")
    assert swapped.question.endswith("\n\nAnswer:") and swapped.matching == items[0].contrast


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({CONTRAST: []}, "item 2: field 'answer_not_matching_behavior' is an empty list"),
        ({CONTRAST: [" (A)", " (C)"]}, "item 2: field 'answer_not_matching_behavior' lists the matching letter too"),
        ({CONTRAST: [" (A)", 3]}, "item 2: field 'answer_not_matching_behavior' must be text, not 3"),
        ({MATCHING: " Yes"}, "item 2: field 'answer_matching_behavior' must be a letter such as (A)"),
        ({MATCHING: " Yes", CONTRAST: " No"}, "item 2: field 'answer_matching_behavior' must be a letter such as (A)"),
        ({CONTRAST: [" (Z)"]}, "item 2: field 'answer_not_matching_behavior' is (Z), but the choices are A, B, C, D"),
    ],
)
def test_what_is_wrong_with_answers_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = lines(tmp_path / "views.jsonl", [philosophy(0), philosophy(1) | change])
    assert message in complaint(lambda: read(file))


def test_folders_that_are_not_meant_are_named_with_the_mend(tmp_path: Path) -> None:
    lines(tmp_path / "evals/persona/agreeableness.jsonl", [persona(index) for index in range(4)])
    assert complaint(lambda: Library.open(tmp_path / "evals")).endswith("; there are some in its persona.")
    lines(tmp_path / "evals/persona/openness.jsonl", [persona(index) for index in range(4)])
    write(tmp_path / "evals/persona/behavior.json", {"description": "being open"})
    folder = Library.open(tmp_path / "evals/persona")
    assert folder.names == ("agreeableness", "openness")
    assert "can't speak for 2 behaviors" in complaint(lambda: folder.behavior("openness"))
    lines(tmp_path / "evals/persona/openness.csv", [])
    assert "would both be the behavior openness" in complaint(lambda: Library.open(tmp_path / "evals/persona"))
