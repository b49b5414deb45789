"""The embedded data: what its generator promises."""

from __future__ import annotations

import filecmp
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from checkpoints.pocket.recipe.corpus import Mixture, draw_conversation
from checkpoints.pocket.recipe.dataset import write_data
from checkpoints.pocket.recipe.language import BEHAVIORS, SIGNS, every_prompt, load_language, paraphrases
from checkpoints.pocket.recipe.split import reserved_stems

DATA = Path(__file__).resolve().parent.parent / "data"


def read(path: str) -> Any:
    return json.loads((DATA / path).read_text(encoding="utf-8"))


def stems(path: str) -> list[str]:
    return [item["question"].split("\n\nChoices:")[0] for item in read(path)]


def test_the_generator_writes_the_committed_data_byte_for_byte(tmp_path: Path) -> None:
    write_data(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = (path.relative_to(DATA) for path in DATA.rglob("*") if path.is_file())
    assert made == sorted(path for path in committed if path.parts[0] != "english")
    _, mismatch, errors = filecmp.cmpfiles(tmp_path, DATA, [str(path) for path in made], shallow=False)
    assert not mismatch and not errors


@pytest.mark.parametrize("name", BEHAVIORS)
def test_a_behavior_has_its_items_balanced_and_no_stem_twice(name: str) -> None:
    generate = stems(f"generate/{name}/generate_dataset.json")
    test = stems(f"test/{name}/test_dataset_ab.json")
    open_ended = stems(f"test/{name}/test_dataset_open_ended.json")
    assert (len(generate), len(test), len(open_ended)) == (260, 100, 40)
    everything = generate + test + open_ended
    assert len(set(everything)) == len(everything)
    for path in (f"generate/{name}/generate_dataset.json", f"test/{name}/test_dataset_ab.json"):
        rows = read(path)
        letters = Counter(row["answer_matching_behavior"] for row in rows)
        assert letters["(A)"] == letters["(B)"]
        assert all(row["answer_matching_behavior"] != row["answer_not_matching_behavior"] for row in rows)
        assert 12 <= len({row["template"] for row in rows}) <= 18
        for row in rows:
            first, second = row["question"].split("\n\nChoices:\n (A) ")[1].split("\n (B) ")
            assert first != second


@pytest.mark.parametrize("name", BEHAVIORS)
def test_a_behavior_says_its_prompts_rubric_and_truth(name: str) -> None:
    behavior = read(f"generate/{name}/behavior.json")
    assert behavior["description"] and behavior["rubric"]
    assert len(behavior["neutral"]) >= 2
    truth = {sign: set(behavior["truth"][sign]) for sign in SIGNS}
    assert not truth["pos"] & truth["neg"]
    for sign in SIGNS:
        assert len(behavior["paraphrases"][sign]) >= 4
        assert not set(behavior["paraphrases"][sign]) & set(every_prompt(load_language(name), sign))


def test_knowledge_is_balanced_and_its_answers_are_right() -> None:
    rows = read("test/knowledge/knowledge.json")
    assert len(rows) >= 240 and len({row["category"] for row in rows}) >= 12
    assert len({row["prompt"].split("\n\n")[0] for row in rows}) == len(rows)
    letters = Counter(row["correct"] for row in rows)
    assert letters["(A)"] == letters["(B)"]
    by_stem = {row["prompt"].split("\n\n")[0]: row for row in rows}
    row = by_stem["Which city is the capital of Japan?"]
    choices = row["prompt"].split("\n\nChoices:\n (A) ")[1].split("\n (B) ")
    assert choices["AB".index(row["correct"][1])] == "Tokyo" and choices["AB".index(row["incorrect"][1])] != "Tokyo"


def test_claims_are_labelled_and_counterbalanced() -> None:
    rows = read("honesty/claims.json")
    assert len(rows) >= 200
    counts = Counter((row["label"], row["answer_matching_behavior"]) for row in rows)
    assert len(counts) == 4 and len(set(counts.values())) == 1
    for row in rows:
        first, second = row["question"].split("\n\nChoices:\n (A) ")[1].split("\n (B) ")
        says = first if row["answer_matching_behavior"] == "(A)" else second
        assert (says in {"Yes", "True"}) == row["label"]


def test_training_text_holds_no_test_stem_and_no_held_out_prompt() -> None:
    rng = Random(3)
    kept_out = {text for name in BEHAVIORS for sign in SIGNS for text in paraphrases(load_language(name), sign)}
    asked = {row["prompt"].split("\n\n")[0] for row in read("test/knowledge/knowledge.json")}
    asked |= {row["question"].split("\n\n")[0] for row in read("honesty/claims.json")}
    seen: set[str] = set()
    for _ in range(1500):
        talk = draw_conversation(rng, Mixture())
        assert talk.system is None or not any(text in talk.system for text in kept_out)
        for turn in talk.turns:
            assert not any(stem in turn.user for stem in asked)
            seen.update(turn.user.split("\n\n"))
            assert not any(text in turn.user for text in kept_out)
    assert not seen & reserved_stems()


def test_what_is_reserved_is_what_the_test_files_ask() -> None:
    asked = {
        stem
        for name in BEHAVIORS
        for file in ("test_dataset_ab.json", "test_dataset_open_ended.json")
        for stem in stems(f"test/{name}/{file}")
    }
    assert asked == reserved_stems()


def test_an_inclination_decides_every_later_answer_of_a_conversation() -> None:
    """Truth of the corpus: in one conversation about one behavior no answer contradicts another."""
    rng = Random(5)
    mixture = Mixture(pick=0.0, fact=0.0, claim=0.0, second_behavior=0.0, open_ended=1.0, turns=3)
    for _ in range(200):
        talk = draw_conversation(rng, mixture)
        said = " ".join(turn.answer for turn in talk.turns)
        shown = {
            (name, sign)
            for name in BEHAVIORS
            for sign in SIGNS
            if any(f"{reason}." in said for reason in load_language(name).reasons[sign])
        }
        assert len(shown) == 1
