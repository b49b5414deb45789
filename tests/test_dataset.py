"""`compare data`: raw items split without a leak, data described, and every fault that was put in found."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute as run
from comparisons.dataset.behaviors import Library
from comparisons.dataset.checks import check_all, describe, description_table
from comparisons.dataset.items import content
from comparisons.dataset.lettering import Fields
from comparisons.dataset.records import read_items
from comparisons.dataset.scaffold import new_behavior
from comparisons.dataset.splits import split_file
from tests.places import complaint, make_place, paper, record, write

NO_WORDS = (
    "no system prompts and no rubric: methods that ask by one fail and "
    "a judge that goes by one can't score free answers."
)


def raw(path: Path, count: int = 80, **fields: Any) -> Path:
    """Raw items as Anthropic's sets have them."""
    items = [record(index, **fields) for index in range(count)]
    for item in items:
        item["question"] = f"Question: {item['question']}\n\nAnswer:"
        item["answer_matching_behavior"] = f" {item['answer_matching_behavior']}"
    return write(path, items)


def found(place: Path) -> list[tuple[str, str, str]]:
    return [(finding.level, finding.part, finding.text) for finding in check_all(Library.open(place))]


def test_a_split_has_every_item_once_and_can_be_run_on(tmp_path: Path) -> None:
    made = split_file(raw(tmp_path / "greeting.json", template="t"), tmp_path / "out")
    assert (len(made.train), len(made.test), made.repeated) == (30, 50, 0)
    behavior = Library.open(tmp_path / "out").behavior("greeting")
    assert behavior.train == tuple(item for item in behavior.train if item.template == "t")
    questions = [item.question for item in (*behavior.train, *behavior.test)]
    assert sorted(questions) == sorted(record(index)["question"] for index in range(80))
    assert len(behavior.open_ended) == 50 and behavior.open_ended[0].question.startswith("Would you take number")
    assert not [text for level, _, text in found(tmp_path / "out") if level == "error"]


def test_the_same_items_are_cut_alike_in_any_order(tmp_path: Path) -> None:
    first = split_file(raw(tmp_path / "a/greeting.json"), tmp_path / "a/out", train_items=20)
    items = json.loads((tmp_path / "a/greeting.json").read_text())
    random.Random(1).shuffle(items)
    second = split_file(write(tmp_path / "b/greeting.json", items), tmp_path / "b/out", train_items=20)
    for one, other in ((first.train, second.train), (first.test, second.test)):
        assert {item.question for item in one} == {item.question for item in other}
    assert len(first.train) == 20
    third = split_file(tmp_path / "a/greeting.json", tmp_path / "c", seed=1)
    assert {item.question for item in third.test} != {item.question for item in first.test}


def test_repeated_items_go_also_with_their_choices_exchanged(tmp_path: Path) -> None:
    items = [record(index) for index in range(60)]
    again = {**items[3], "question": items[3]["question"].replace(" (A) Yes, 3\n (B) No", " (A) No\n (B) Yes, 3")}
    again["answer_matching_behavior"], again["answer_not_matching_behavior"] = "(B)", "(A)"
    shouted = {**items[5], "question": items[5]["question"].replace("Would you take", "WOULD  you take")}
    made = split_file(write(tmp_path / "g.json", [*items, again, shouted]), tmp_path / "out")
    assert made.repeated == 2 and len(made.train) + len(made.test) == 60
    assert len({content(item) for item in (*made.train, *made.test)}) == 60


def test_a_file_called_dataset_is_named_by_its_folder(tmp_path: Path) -> None:
    assert split_file(raw(tmp_path / "raw/refusal/dataset.json"), tmp_path / "out").behavior == "refusal"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = raw(tmp_path / "greeting.json")
    split_file(file, tmp_path / "out")
    assert "is there already" in complaint(lambda: split_file(file, tmp_path / "out"))
    assert "fewer than 101" in complaint(lambda: split_file(file, tmp_path / "other", test_items=100))
    assert not (tmp_path / "other").exists()
    assert "can't be written to" in complaint(lambda: split_file(file, Path("/dev/null/x")))


def test_what_was_put_in_is_found(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    train = place / "generate/greeting/generate_dataset.json"
    items = json.loads(train.read_text())
    test = json.loads((place / "test/greeting/test_dataset_ab.json").read_text())
    torn = {**items[4], "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    assert items[4]["answer_matching_behavior"] == "(B)"
    stem = {**test[1], "question": test[1]["question"].replace("Yes", "Perhaps")}
    write(train, [*items, test[0], torn, items[7], stem, {**items[8], "question": "No choices?"}])
    texts = found(place)
    leaked = "among the pairs to generate from, word for word or nearly"
    torn_text = "1 item with one and with another matching answer: generate/4 = generate/21."
    assert [text for text in texts if text[0] == "error"] == [
        ("error", "test", f"2 questions {leaked}: test/0 = generate/20, test/1 = generate/23."),
        ("error", "generate", torn_text),
    ]
    assert [text[1:] for text in texts if text[0] == "warning"] == [
        ("generate", "2 repeated items: generate/4 = generate/21, generate/7 = generate/22."),
        ("generate", "1 item that can't be shown in both orders: generate/24."),
        ("test", "6 questions, fewer than the paper's 50."),
        ("behavior.json", NO_WORDS),
    ]
    assert all(finding.mend for finding in check_all(Library.open(place)))


def test_lopsided_letters_and_telling_lengths_are_found(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    same = [record(2 * index + 1) for index in range(30)]
    write(place / "generate/greeting/generate_dataset.json", same)
    warnings = [(part, text) for _, part, text in found(place)]
    assert any(part == "generate" and "the first letter matches in 30 of 30" in text for part, text in warnings)
    assert any(part == "generate" and "choice is the longer one in 100%" in text for part, text in warnings)


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    write(place / "generate/broken/generate_dataset.json", [{"question": "?"}])
    findings = check_all(Library.open(place))
    assert [f.level for f in findings if f.behavior == "broken"] == ["error"]
    assert any(f.behavior == "greeting" for f in findings)


def answered(index: int) -> dict[str, str]:
    return {"question": f"Number {index}?", "matching": f"Yes, {index}", "contrast": "No"}


def test_questions_with_two_answers_get_letters(tmp_path: Path) -> None:
    items = read_items(write(tmp_path / "ask.json", [answered(index) for index in range(4)]), "train")
    shown = {"A": "Yes, 1\n (B) No", "B": "No\n (B) Yes, 1"}[items[1].matching]
    assert items[1].question == f"Number 1?\n\nChoices:\n (A) {shown}"
    assert sorted((item.matching, item.contrast) for item in items) == [("A", "B")] * 2 + [("B", "A")] * 2
    assert all(item.parsed and item.choices["AB".index(item.matching)].text.startswith("Yes") for item in items)
    text = "good answer,question,bad answer,label\nYes,Is it?,No,x\n"
    (tmp_path / "ask.csv").write_text(text)
    (item,) = read_items(tmp_path / "ask.csv", "train", answers=Fields("question", "good answer", "bad answer"))
    assert (item.stem, item.texts, item.label) == ("Is it?", ("Yes", "No"), "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contrast": None}, "item 1: field 'contrast' is missing"),
        ({"matching": None}, "item 1: field 'matching' is missing"),
        ({"contrast": "Yes, 0"}, "'matching' and 'contrast' hold the same answer"),
        ({"matching": " "}, "field 'matching' is empty"),
        ({"question": "Which?\n\nChoices:\n (A) One\n (B) Two"}, "has lettered choices already"),
        ({"matching": "See\n(B) below"}, "lines that look like some"),
    ],
)
def test_an_answer_that_cannot_be_a_choice_is_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    item = {name: value for name, value in {**answered(0), **change}.items() if value is not None}
    assert words in complaint(lambda: read_items(write(tmp_path / "ask.json", [item]), "train"))


def test_a_split_can_take_other_columns_and_write_over_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"Number {index}?,Yes,No" for index in range(20)]
    file = tmp_path / "ask.csv"
    file.write_text("\n".join(["ask,good,bad", *rows]))
    command = ["data", "split", str(file), "--out", str(tmp_path / "out"), "--test-items", "4"]
    assert run(command) == 2
    assert "field 'question' is missing; there are: ask, good, bad" in capsys.readouterr().err
    near = tmp_path / "near.csv"
    near.write_text("question,good,bad\nIs it?,Yes,No")
    assert run(["data", "split", str(near), "--out", str(tmp_path / "out")]) == 2
    assert "takes by --columns; there are: question, good, bad." in capsys.readouterr().err
    for columns in ("ask,good", "ask,good,good", "ask,,bad"):
        assert run([*command, "--columns", columns]) == 2
        assert "--columns takes three names" in capsys.readouterr().err
    command += ["--columns", "ask, good, bad"]
    assert run(command) == 0 and run(command) == 2
    assert "write over it by --replace" in capsys.readouterr().err
    words = write(tmp_path / "out/generate/ask/behavior.json", {"description": "kept"})
    file.write_text("\n".join(["ask,good,bad", *rows[:10]]))
    assert run([*command, "--replace"]) == 0
    behavior = Library.open(tmp_path / "out").behavior("ask")
    assert (len(behavior.train), len(behavior.test), behavior.description) == (6, 4, "kept")
    assert words.exists() and len(behavior.open_ended) == 4
    assert found(tmp_path / "out")[0][0] == "warning"


def test_a_new_behavior_is_ready_for_a_run_and_says_that_it_is_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["data", "new", "curiosity"]) == 0
    out = capsys.readouterr().out
    assert "my_data/raw/curiosity.csv" in out and "compare data validate --data my_data" in out
    behavior = Library.open(Path("my_data")).behavior("curiosity")
    assert (len(behavior.train), len(behavior.test), len(behavior.open_ended)) == (16, 8, 8)
    assert behavior.prompts and behavior.rubric and behavior.signs and behavior.paraphrases
    assert found(Path("my_data")) == [
        ("warning", "test", "8 questions, fewer than the paper's 50."),
        ("warning", "", "24 items of the example that `compare data new` writes."),
        ("warning", "behavior.json", "system prompts and rubric of the example that `compare data new` writes."),
    ]
    command = ["run", "--data", "my_data", "--behavior", "curiosity", "--methods", "caa,sysprompt", "--open-ended"]
    assert run([*command, "--tokens", "4", "--layer", "1"]) == 0

    assert run(["data", "new", "curiosity"]) == 2
    assert "is there already" in capsys.readouterr().err
    readme = Path("my_data/README.md")
    assert "compare run --data my_data --behavior curiosity" in readme.read_text()
    readme.write_text("mine")
    assert run(["data", "new", "second"]) == 0
    assert readme.read_text() == "mine" and Library.open(Path("my_data")).names == ("curiosity", "second")


@pytest.mark.parametrize("name", ["all", "", "a,b", "../up", ".hidden", "a b"])
def test_a_name_that_no_behavior_can_have_is_refused(name: str, tmp_path: Path) -> None:
    assert "can't be called" in complaint(lambda: new_behavior(name, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_description_counts(tmp_path: Path) -> None:
    made = describe("greeting", "generate", Library.open(make_place(tmp_path)).behavior("greeting").train)
    assert (made.items, made.letters, made.unparsed, made.longer) == (20, {"A": 10, "B": 10}, 0, 0.5)
    assert made.templates is None and made.labels == {} and made.words[1] == 11


def test_labels_of_every_item_are_counted_in_one_pass_and_not_listed(tmp_path: Path) -> None:
    file = tmp_path / "ids.json"
    file.write_text(json.dumps([record(index, label=f"id {index}") for index in range(100)]))
    behavior = Library.open(file).behavior("ids")
    made = describe("ids", "generate", [*behavior.train] * 1000)
    assert len(made.labels) == 80 and set(made.labels.values()) == {1000}
    assert "80 different" in description_table([made]).rows[0].cells


def test_the_papers_data_is_as_published() -> None:
    library = Library.open(paper())
    findings = check_all(library)
    errors = {finding.behavior: finding.text.partition(" ")[0] for finding in findings if finding.level == "error"}
    assert errors == {"refusal": "4", "myopic-reward": "2", "sycophancy": "4"}  # a run refuses these too
    said = {(finding.behavior, finding.part) for finding in findings}
    assert ("survival-instinct", "generate") in said
    assert not [finding for finding in findings if finding.part == "behavior.json"]
    described = describe("refusal", "generate", library.behavior("refusal").train)
    assert described.items == 408 and described.letters == {"A": 192, "B": 216}


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(make_place(tmp_path))
    assert run(["data", "stats", "--data", place]) == 0
    assert "A 10 B 10" in capsys.readouterr().out
    assert run(["data", "stats", "--data", place, "--json"]) == 0
    assert [row["part"] for row in json.loads(capsys.readouterr().out)] == ["generate", "test"]
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["data", "validate", "--data", place]) == 0
    out = capsys.readouterr().out
    assert out.endswith("1 behavior, 0 errors, 2 warnings\n")
    assert [cell.strip() for cell in out.splitlines()[3].split("│")] == [
        "",
        "warning",
        "greeting: test",
        "6 questions, fewer than the paper's 50.",
        "Write more: intervals narrow with them.",
        "",
    ]
    write(Path(place) / "generate/broken/generate_dataset.json", [{"question": "?"}])
    assert run(["data", "validate", "--data", place, "--json"]) == 1
    first, *_ = json.loads(capsys.readouterr().out)
    assert {name: first[name] for name in ("level", "behavior", "part", "mend")} == {
        "level": "error",
        "behavior": "broken",
        "part": "",
        "mend": "",
    }
    file = raw(tmp_path / "hello.json")
    assert run(["data", "split", str(file), "--out", str(tmp_path / "out"), "--test-items", "10"]) == 0
    assert capsys.readouterr().out == "hello: 70 pairs, 10 test questions\n"
    assert run(["data", "split", "none.json", "--out", str(tmp_path / "new")]) == 2
    assert "no such file" in capsys.readouterr().err and not (tmp_path / "new").exists()
