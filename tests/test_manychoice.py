"""Knowledge questions with one right choice among several: read, asked in every rotation, and measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.cli import execute
from comparisons.dataset.behaviors import Library
from comparisons.dataset.items import Item
from comparisons.dataset.lettering import KNOWLEDGE, Origin, read_item
from comparisons.engine.choices import ChoiceLogps, choice_logps
from comparisons.evaluation.measures import item_measures, letter_split
from comparisons.evaluation.questions import questions, result_rows
from comparisons.intervention import Edit, Intervention
from tests import oracle
from tests.places import complaint, knowledge, make_place, write
from tests.tiny import WIDTH, tiny_item, tiny_lm

TEXTS = ("one", "two", "three", "four")


def fact(index: int, answer: Any) -> dict[str, Any]:
    return {"question": f"How many is {index}?", "choices": list(TEXTS), "answer": answer, "subject": "sums"}


def as_item(record: dict[str, Any], id: str = "q") -> Item:
    return read_item(record, Origin("here", id), KNOWLEDGE)


def item(index: int, answer: Any) -> Item:
    return as_item(fact(index, answer), f"mmlu4/{index}")


def test_mmlus_own_form_is_read_with_index_or_letter() -> None:
    found = item(0, 2)
    assert found.question == "How many is 0?\n\nChoices:\n(A) one\n(B) two\n(C) three\n(D) four"
    assert (found.matching, found.contrast, found.category, found.stem) == ("C", "ABD", "sums", "How many is 0?")
    assert item(0, "C") == item(0, "(C)") == found
    record = {"question": found.question, "answer_matching_behavior": " (C)", "category": "sums"}
    assert as_item(record, found.id) == found


def test_in_all_rotations_each_text_stands_once_under_each_letter() -> None:
    found = item(0, 2)
    assert found.orders() == ("given", "rotated1", "rotated2", "rotated3")
    assert found.orders(("given",)) == ("given",)
    shown = [found.present(order) for order in found.orders()]
    read = [Item.parse("x", each.question, each.matching, each.contrast).choices for each in shown]
    for text in TEXTS:
        assert {choice.letter for choices in read for choice in choices if choice.text == text} == set("ABCD")
    for each, choices in zip(shown, read, strict=True):
        assert [choice.text for choice in choices if choice.letter == each.matching] == ["three"]
        assert sorted(each.matching + each.contrast) == list("ABCD")


def test_an_item_whose_right_text_stands_twice_or_hides_its_choices_is_asked_as_given() -> None:
    twice = as_item({"question": "Why?", "choices": ["x", "x", "y", "z"], "answer": 0})
    hidden = as_item({"question": "Why?", "choices": ["x", "y\n(B) no", "z"], "answer": 0})
    for each in (twice, hidden):
        assert not each.parsed and each.orders() == ("given",)
    wrong = as_item({"question": "Why?", "choices": ["x", "y", "y", "z"], "answer": 0})
    assert len(wrong.orders()) == 4


@pytest.mark.parametrize("edited", [False, True])
def test_probabilities_equal_one_plain_pass_a_rotation(edited: bool) -> None:
    lm = tiny_lm()
    items = [item(0, 2), tiny_item(1), as_item({**fact(3, 1), "choices": ["a", "b", "c"]}, "mmlu4/3")]
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    steered = Intervention(edits=(Edit(1, vector, multiplier=2.0),)) if edited else Intervention()
    asked = questions(items)
    assert len(asked) == 4 + 2 + 3
    found = choice_logps(lm, [question.shown for question in asked], [steered])
    rows = result_rows(asked, found, 0, "knowledge", {})
    blocks = lm.model.model.layers
    for row, question in zip(rows, asked, strict=True):
        ids, end, index = oracle.prompt_ids(lm.tokenizer, question.shown.question, "A")
        plain = oracle.logps(lm.model, blocks, ids, end, index, (1, vector, 2.0) if edited else None)
        p = {
            c.letter: math.exp(plain[oracle.prompt_ids(lm.tokenizer, question.shown.question, c.letter)[0][index]])
            for c in question.item.choices
        }
        others = sum(p[letter] for letter in question.shown.contrast)
        assert row["logp_contrast"] == pytest.approx(math.log(others), abs=2e-5)
        assert row["p_match"] == pytest.approx(p[row["matching"]] / (p[row["matching"]] + others), abs=1e-5)
        assert (row["order"], row["contrast"]) == (question.order, question.shown.contrast)


def test_a_model_that_knows_only_letters_scores_the_chance_level() -> None:
    items = [item(index, index) for index in range(4)]
    asked = questions(items)
    bias = dict(zip("ABCD", np.log([0.4, 0.3, 0.2, 0.05]), strict=True))
    logps = np.array(
        [(bias[q.shown.matching], math.log(sum(math.exp(bias[x]) for x in q.shown.contrast))) for q in asked]
    )
    rows = result_rows(asked, ChoiceLogps(logps[None], np.zeros((1, len(asked)), dtype=bool)), 0, "knowledge", {})
    found = item_measures(rows, "knowledge")
    np.testing.assert_allclose(found.p_match, 0.25, atol=1e-6)
    np.testing.assert_allclose(found.lost, 0.05, atol=1e-6)
    assert np.isnan(found.p_first).all()
    assert letter_split(rows, "knowledge").items == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 4}, "field 'answer' must be an index from 0 to 3 or a letter up to D, not 4"),
        ({"answer": "E"}, 'or a letter up to D, not "E"'),
        ({"answer": True}, "or a letter up to D, not true"),
        ({"answer": None}, "or a letter up to D, not null"),
        ({"choices": ["one"]}, "field 'choices' must be a list of 2 to 26 texts, not 1"),
        ({"choices": "one"}, "field 'choices' must be a list of 2 to 26 texts, not \"one\""),
        ({"choices": ["one", " "]}, "field 'choices' is empty"),
        ({"question": ""}, "field 'question' is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    place = make_place(tmp_path)
    write(place / "test/mmlu4/mmlu4.json", [fact(0, 0), {**fact(1, 1), **change}])
    found = complaint(lambda: knowledge(place, "mmlu4"))
    assert "mmlu4.json: item 2: " in found and message in found


def test_a_run_measures_the_cost_on_the_set_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = make_place(tmp_path)
    assert "put it at test/mmlu4/mmlu4.json" in complaint(lambda: Library.open(place).knowledge("mmlu4"))
    write(place / "test/mmlu4/mmlu4.json", [fact(index, index % 4) for index in range(7)])
    arguments = f"run --data {place} --behavior greeting --methods caa --set caa.layer=1 --directions pos".split()
    assert execute([*arguments, "--knowledge", "mmlu4", "--out", str(tmp_path / "run")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run/results.jsonl").read_text().splitlines()]
    asked = [row for row in rows if row["evaluation"] == "knowledge" and row["method"] == "baseline"]
    assert [row["order"] for row in asked[:4]] == ["given", "rotated1", "rotated2", "rotated3"] and len(asked) == 28
    summary = json.loads((tmp_path / "run/summary.json").read_text())["rows"]
    mean = np.mean([row["p_match"] for row in asked])
    assert summary[0]["knowledge_set"] == "mmlu4" and summary[0]["knowledge"] == pytest.approx(mean, abs=1e-6)
    assert summary[1]["cost"] is not None and summary[1]["cost_ci"][0] <= summary[1]["cost"] <= summary[1]["cost_ci"][1]
