"""Behaviors and knowledge sets, read from folders and files, good and bad."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.behaviors import Behavior, Item, Library
from comparisons.util.files import embedded
from tests.places import complaint, fact, knowledge, make_place, record, write

KNOWN = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_a_folder_in_the_papers_layout(folder: Path) -> None:
    library = Library.open(folder)
    assert library.names == ("greeting",)
    behavior = library.behavior("greeting")
    assert (len(behavior.train), behavior.dev, len(behavior.test)) == (20, (), 6)
    assert [prompt.question for prompt in behavior.open_ended] == ["Hello?"]
    assert behavior.test[1].id == "test/1"
    assert (behavior.test[1].matching, behavior.test[1].contrast) == ("A", "B")
    assert behavior.test[1].question == record(101)["question"]
    assert behavior.unparsed == 0


def test_names_are_found_without_reading_an_item(folder: Path) -> None:
    (folder / "generate/greeting/generate_dataset.json").write_text("not read yet")
    assert Library.open(folder).names == ("greeting",)


def test_what_does_not_parse_is_counted(folder: Path) -> None:
    odd = record(0, question="Would you? (A) Yes (B) No")
    write(folder / "test/greeting/test_dataset_ab.json", [odd, record(1)])
    assert Library.open(folder).behavior("greeting").unparsed == 1


def test_missing_places_files_and_names(folder: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert complaint(lambda: Library.open(nowhere)) == f"{nowhere}: there is no such folder or file of data."
    (tmp_path / "bare").mkdir()
    assert "holds no behaviors: it needs generate/NAME/" in complaint(lambda: Library.open(tmp_path / "bare"))
    assert "can't be read" in complaint(lambda: Library.open(tmp_path / ("long" * 100)))
    assert "Did you mean greeting?" in complaint(lambda: Library.open(folder).behavior("greetings"))
    test = folder / "test/greeting/test_dataset_ab.json"
    test.unlink()
    assert complaint(lambda: Library.open(folder).behavior("greeting")) == f"{test}: there is no such file."


TEXTS: dict[str, Any] = {
    "description": "saying hello",
    "system_prompts": {"pos": "Say hello.", "neg": "Say nothing."},
    "paraphrases": {"pos": ["Greet."], "neg": ["Don't greet."]},
    "neutral": ["Speak English."],
    "rubric": "How much hello?",
    "truth": {"pos": ["hello"], "neg": []},
}


def test_behavior_json_puts_a_behavior_into_words(folder: Path) -> None:
    bare = Library.open(folder).behavior("greeting")
    path = folder / "generate/greeting/behavior.json"
    assert str(path) in complaint(lambda: bare.system_prompt("pos"))
    assert "greeting" in complaint(lambda: bare.system_prompt("pos"))
    write(path, TEXTS)
    behavior = Library.open(folder).behavior("greeting")
    assert (behavior.system_prompt("pos"), behavior.system_prompt("neg")) == ("Say hello.", "Say nothing.")
    assert behavior.paraphrases == {"pos": ("Greet.",), "neg": ("Don't greet.",)}
    assert (behavior.neutral, behavior.rubric) == (("Speak English.",), "How much hello?")
    assert (behavior.description, behavior.truth) == ("saying hello", TEXTS["truth"])
    assert "unknown direction 'up'" in complaint(lambda: behavior.system_prompt("up"))
    assert behavior.digest != bare.digest
    assert behavior.test_digest == bare.test_digest


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "must hold an object, not a list"),
        ({"rubrik": "x"}, "unknown field 'rubrik'. Did you mean rubric or rubrics?"),
        ({"rubric": ["x"]}, "field 'rubric' must be text, not a list"),
        (
            {"system_prompts": {"pos": "x"}},
            "field 'system_prompts' must be an object with the fields pos and neg",
        ),
        ({"system_prompts": {"pos": "x", "neg": ""}}, "field 'system_prompts', 'neg' is empty"),
        ({"paraphrases": {"pos": [3], "neg": []}}, "field 'paraphrases', 'pos' must be text, not 3"),
        ({"neutral": {}}, "field 'neutral' must be text, not an object"),
        ({"truth": "x"}, "field 'truth' must be an object, not \"x\""),
    ],
)
def test_a_mistake_in_behavior_json_names_file_and_field(folder: Path, texts: Any, message: str) -> None:
    path = write(folder / "generate/greeting/behavior.json", texts)
    assert complaint(lambda: Library.open(folder).behavior("greeting")).startswith(f"{path}: {message}")


@pytest.mark.parametrize("name", KNOWN)
def test_the_papers_behaviors_bring_their_own_words(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / f"{name}.json", [record(index) for index in range(10)])
    behavior = Library.open(path).behavior(name)
    lengths = [len(behavior.system_prompt(direction).split()) for direction in ("pos", "neg")]
    assert max(lengths) - min(lengths) <= 6
    assert behavior.rubric is not None and behavior.rubric.count(".") >= 3
    assert behavior.description
    write(tmp_path / "behavior.json", {"system_prompts": {"pos": "More.", "neg": "Less."}})
    replaced = Library.open(path).behavior(name)
    assert (replaced.system_prompt("pos"), replaced.rubric) == ("More.", behavior.rubric)


def made(count: int, template: Callable[[int], str | None] = lambda index: None) -> Behavior:
    items = tuple(
        Item.parse(f"generate/{index}", record(index)["question"], "A", "B", template=template(index))
        for index in range(count)
    )
    return Behavior("made", items, (), items[:12], (), None, None, None, "made.json")


@pytest.mark.parametrize(("count", "dev"), [(16, 8), (40, 8), (100, 20), (408, 82), (1000, 100)])
def test_the_dev_split_has_its_size_and_shares_nothing(count: int, dev: int) -> None:
    whole = made(count)
    cut = whole.with_dev(0)
    assert (len(cut.dev), len(cut.train)) == (dev, count - dev)
    places = {item.id: index for index, item in enumerate(whole.train)}
    for side in (cut.train, cut.dev):
        assert [places[item.id] for item in side] == sorted(places[item.id] for item in side)
    assert set(cut.train) | set(cut.dev) == set(whole.train)
    assert cut.with_dev(1) is cut
    assert cut.test == whole.test


def test_the_dev_split_is_decided_by_content_and_seed() -> None:
    whole = made(200)
    backwards = Behavior("made", whole.train[::-1], (), (), (), None, None, None, "made.json")
    assert set(backwards.with_dev(0).dev) == set(whole.with_dev(0).dev)
    assert set(whole.with_dev(1).dev) != set(whole.with_dev(0).dev)
    assert whole.with_dev(0).digest != whole.digest
    assert whole.with_dev(0).dev_digest != whole.with_dev(1).dev_digest


def test_stems_stay_on_one_side_and_templates_do_not() -> None:
    apart = made(200, lambda index: f"t{index % 2}").with_dev(0)
    assert len(apart.dev) == 40
    assert {item.template for item in apart.dev} == {item.template for item in apart.train} == {"t0", "t1"}
    pairs = made(100).train
    doubled = Behavior("doubled", (*pairs, *pairs), (), (), (), None, None, None, "made.json").with_dev(0)
    assert not {item.stem for item in doubled.dev} & {item.stem for item in doubled.train}
    twins = Behavior("twins", tuple(pairs[:1]) * 20, (), (), (), None, None, None, "made.json").with_dev(0)
    assert (len(twins.train), len(twins.dev)) == (12, 8)


def test_too_few_pairs_for_a_dev_split_say_so() -> None:
    assert "has 15 contrast pairs, too few" in complaint(lambda: made(15).with_dev(0))


def test_limits_draw_nested_subsets_in_their_original_order() -> None:
    whole = made(50)
    ten, twenty = whole.limited(10, None, 0), whole.limited(20, 5, 0)
    assert (len(ten.train), len(ten.test), len(twenty.test)) == (10, 12, 5)
    assert set(ten.train) < set(twenty.train)
    assert list(twenty.train) == [item for item in whole.train if item in twenty.train]
    assert set(whole.limited(10, None, 1).train) != set(ten.train)
    assert whole.limited(1000, 1000, 0) == whole


def test_either_letter_matches_in_half_of_the_pairs_drawn() -> None:
    """A draw that has as many of either is the plain one, by hash; letters that a file lacks are left alone."""
    refusal, texts = (Library.open(data).behavior("refusal") for data in ("pocket", "english"))
    for whole, letters in ((refusal, False), (texts, True), (texts, False)):
        by_hash = sorted(whole.train, key=lambda item: hashlib.sha256(f"draw 3 {item.question}".encode()).digest())
        before: set[Item] = set()
        for count in range(1, 61):
            drawn, plain = set(whole.limited(count, None, 3, letters).train), set(by_hash[:count])
            firsts, plainly = (sum(item.matching == "A" for item in part) for part in (drawn, plain))
            balanced = letters or whole is refusal
            assert drawn == plain if abs(2 * plainly - count) < 2 or not balanced else abs(2 * firsts - count) < 2
            assert before < drawn and len(drawn) == count
            before = drawn
    sides = {letter: [item for item in refusal.train if item.matching == letter] for letter in "AB"}
    few = replace(refusal, train=[*sides["A"][:2], *sides["B"][:9]]).limited(8, None, 0).train
    assert sorted(item.matching for item in few) == [*"AA", *"BBBBBB"]


def test_the_digest_follows_the_training_pairs_and_not_the_test() -> None:
    whole = made(50)
    other_test = whole.limited(None, 5, 0)
    assert other_test.digest == whole.digest
    assert other_test.test_digest != whole.test_digest
    assert whole.limited(49, None, 0).digest != whole.digest


def test_knowledge_is_called_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Library.open(folder).knowledge("auto") is None
    for choice, file in (("mmlu", "test/mmlu/mmlu.json"), ("truthfulqa", "test/truthfulqa/truthful_qa.json")):
        assert file in complaint(partial(Library.open(folder).knowledge, choice))
        write(folder / file, [fact(index) for index in range(12)])
    assert "unknown knowledge set 'mmul'. Did you mean mmlu" in complaint(
        lambda: Library.open(folder).knowledge("mmul")
    )
    assert Library.open(folder).knowledge("none") is None
    assert knowledge(folder, "auto").name == "mmlu"
    assert knowledge(folder, "truthfulqa").name == "truthfulqa"
    write(folder / "test/knowledge/knowledge.json", [fact(1)])
    assert knowledge(folder, "auto").name == "place knowledge"
    monkeypatch.setattr("comparisons.dataset.packaged.embedded", lambda name: folder)
    own = Library.open("pocket").knowledge("auto")
    assert own is not None and (own.name, own.items[0].category) == ("pocket facts", "sums")


def test_knowledge_items_read_limit_and_complain(folder: Path) -> None:
    path = write(folder / "test/mmlu/mmlu.json", [fact(index) for index in range(12)])
    whole = knowledge(folder, "mmlu")
    assert (whole.items[3].id, whole.items[3].matching, whole.unparsed) == ("mmlu/3", "A", 0)
    some = whole.limited(5, 0)
    assert len(some.items) == 5 and some.digest != whole.digest and some.name == "mmlu"
    write(path, [fact(1), {**fact(2), "incorrect": "(A)"}])
    assert complaint(lambda: knowledge(folder, "mmlu")).startswith(
        f"{path}: item 2: fields 'correct' and 'incorrect' are both (A)"
    )


def test_a_single_file_has_no_knowledge(tmp_path: Path) -> None:
    library = Library.open(write(tmp_path / "mine.json", [record(index) for index in range(10)]))
    assert library.knowledge("auto") is None
    assert "a folder given by --data" in complaint(lambda: library.knowledge("mmlu"))


@pytest.mark.parametrize("test", ["test", "validation"])
def test_a_folder_of_train_and_test_is_one_behavior(tmp_path: Path, test: str) -> None:
    place = tmp_path / "warmth" / "data"
    write(place / "train-00000-of-00002.json", [record(index) for index in range(4)])
    write(place / "train-00001-of-00002.json", [record(index) for index in range(4, 7)])
    write(place / f"{test}.json", [record(index) for index in range(20, 23)])
    library = Library.open(place)
    behavior = library.behavior("warmth")
    assert library.names == ("warmth",)
    assert [item.question for item in behavior.train] == [record(index)["question"] for index in range(7)]
    assert [item.question for item in behavior.test] == [record(index)["question"] for index in range(20, 23)]
    assert len({item.id for item in (*behavior.train, *behavior.test)}) == 10
    write(place / "formality.json", [record(index) for index in range(4)])
    assert "formality" in Library.open(place).names and "warmth" not in Library.open(place).names


def test_the_embedded_folders_are_found_in_the_checkout() -> None:
    root = Path(__file__).resolve().parent.parent
    assert (embedded("data"), embedded("pocket")) == (root / "data", root / "checkpoints/pocket")


def test_importing_behaviors_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "transformers", "datasets", "trl", "peft", "matplotlib")
    code = f"import sys, comparisons.dataset.behaviors; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
