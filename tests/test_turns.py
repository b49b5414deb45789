"""Letters that a file leaves open are drawn: none follows from a row, a label, a topic or an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute
from comparisons.dataset import records
from comparisons.dataset.behaviors import Library
from comparisons.dataset.items import Item
from comparisons.dataset.records import read_items
from tests.places import make_place, record, write

COUNT = 400
MATCHING, CONTRAST = "answer_matching_behavior", "answer_not_matching_behavior"


def claim(number: int, label: int) -> dict[str, Any]:
    return {"statement": f"Statement {number} is so.", "label": label, "category": f"topic {number % 5}"}


def yes_or_no(number: int, yes: bool) -> dict[str, Any]:
    answers = (" Yes", " No") if yes else (" No", " Yes")
    return {"question": f"Is it number {number}?", **dict(zip((MATCHING, CONTRAST), answers, strict=True))}


def texts(number: int) -> dict[str, Any]:
    tags = {"label": "pq"[number % 2], "template": f"t{number // 8}"}
    good = f"An answer to question {number} that shows the behavior"
    return {"question": f"Why {number}?", "matching": good, "contrast": f"Another one, {number}", **tags}


FILES: dict[str, list[dict[str, Any]]] = {
    "claims, true and false in turn": [claim(i, i % 2) for i in range(COUNT)],
    "claims, two and two": [claim(i, i // 2 % 2) for i in range(COUNT)],
    "claims, sorted": [claim(i, int(i < COUNT // 2)) for i in range(COUNT)],
    "yes and no in turn": [yes_or_no(i, i % 2 == 0) for i in range(COUNT)],
    "yes and no, two and two": [yes_or_no(i, i % 4 < 2) for i in range(COUNT)],
    "texts, labels in turn": [texts(i) for i in range(COUNT)],
}
GROUPS: dict[str, Callable[[Item], object]] = {
    "label": lambda item: item.label,
    "category": lambda item: item.category,
    "template": lambda item: item.template,
    "answer": lambda item: item.texts[0] if len(item.texts[0]) < 10 else None,
}


def uneven(items: Sequence[Item], group: Callable[[Item], object]) -> int:
    """By how many items a letter matches more often than the other, in the group where that is most."""
    counts = Counter((group(item), item.matching) for item in items)
    return max(abs(counts[each, "A"] - counts[each, "B"]) for each, _ in counts)


@pytest.mark.parametrize("name", FILES)
def test_letters_are_balanced_within_all_that_items_share(name: str, tmp_path: Path) -> None:
    items = read_items(write(tmp_path / "x.json", FILES[name]), "x")
    for group in GROUPS.values():
        assert uneven(items, group) <= 4
    assert uneven(items, lambda item: None) <= 2
    # Of every second, third and fourth row, whichever they are counted from.
    for step in (2, 3, 4):
        for start in range(step):
            first = [item.matching for item in items[start::step]].count("A") / len(items[start::step])
            assert 0.2 < first < 0.8


def test_of_several_contrast_letters_none_goes_with_the_matching_one(tmp_path: Path) -> None:
    """As by row where these take turns too: A was always asked against B, and B against C."""
    question = "Number {}?\n\nChoices:\n(A) One\n(B) Two\n(C) Three"
    sides = [("(A)", ["(B)", "(C)"]), ("(B)", ["(A)", "(C)"])]
    rows = [
        {"question": question.format(i), **dict(zip((MATCHING, CONTRAST), sides[i % 2], strict=True))}
        for i in range(COUNT)
    ]
    items = read_items(write(tmp_path / "x.json", rows), "x")
    pairs = Counter((item.matching, item.contrast) for item in items)
    assert set(pairs) == {("A", "B"), ("A", "C"), ("B", "A"), ("B", "C")}
    assert max(pairs.values()) - min(pairs.values()) <= 4


def test_letters_are_the_same_again_and_of_items_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.json", FILES["claims, two and two"])
    items = read_items(path, "x")
    assert read_items(path, "x") == items
    monkeypatch.setattr(records, "LARGE", 0)
    kept = read_items(path, "x")
    assert [kept[number] for number in reversed(range(COUNT))] == list(items)[::-1]
    assert tuple(kept) == items


def test_a_file_of_claims_is_balanced_in_both_its_parts(tmp_path: Path) -> None:
    (tmp_path / "honesty.csv").write_text("statement,label\n" + "".join(f"It is {i}.,{i % 2}\n" for i in range(COUNT)))
    behavior = Library.open(tmp_path / "honesty.csv").behavior("honesty")
    for part in (behavior.train, behavior.test):
        counts = Counter((item.label, item.matching) for item in part)
        assert len(counts) == 4 and min(counts.values()) > len(part) / 10


@pytest.mark.slow
def test_pairs_of_one_letter_are_told_wherever_vectors_are_fitted_or_judged(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    place = make_place(tmp_path)
    data = ["--data", str(place), "--behavior", "greeting", "--model", model]
    fit = ["vectors", "fit", *data, "--save-activations", "--out", "v", "--json"]
    diagnose = ["vectors", "diagnose", "v/activations/greeting.safetensors", "--json"]
    generate = ["generate", *data, "--methods", "caa", "--layer", "1", "--prompt", "Hello?", "--tokens", "2"]
    generate += ["--measure", "letters"]
    trace = ["trace", *data, "--item", "0", "--json"]
    said = "greeting: the first letter matches in 20 of 20: what is fitted on them is in part a liking for a letter."
    for lettered in (False, True):
        if lettered:
            write(place / "generate/greeting/generate_dataset.json", [record(2 * index + 1) for index in range(20)])
        for command in (fit, diagnose, generate, trace):
            caplog.clear()
            assert execute(command) == 0
            assert (said in caplog.messages) == lettered, command
