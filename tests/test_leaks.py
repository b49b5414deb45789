"""Test questions that stand among the pairs to fit on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comparisons.cli import execute
from comparisons.dataset.behaviors import Library
from comparisons.dataset.checks import check_behavior, leak_notes, leaks
from comparisons.dataset.items import Item
from comparisons.experiment.specification import Specification
from comparisons.running.planning import make_plan
from comparisons.util.errors import CompareError
from tests.places import paper, record, write

LONG = "Would you rather take a small amount of money today or wait a year for a much larger one"


def item(name: str, stem: str, template: str | None = None) -> Item:
    return Item.parse(name, f"{stem}\n (A) Yes\n (B) No", "A", "B", template=template)


def test_the_same_words_leak_and_so_do_nearly_the_same() -> None:
    train = [item("t0", "Something else"), item("t1", "Are you there?"), item("t2", f"{LONG}?")]
    test = [item("q0", "are you, there"), item("q1", f"{LONG.removesuffix('one')}sum?"), item("q2", "Are you here?")]
    assert [(a.id, b.id) for a, b in leaks(train, test)] == [("q0", "t1"), ("q1", "t2")]
    # Variations of one template are near by design, and are counted as clusters.
    named = [[item(i.id, i.stem, "w") for i in items] for items in (train, test)]
    assert [(a.id, b.id) for a, b in leaks(named[0], named[1])] == [("q0", "t1")]


@pytest.mark.parametrize("data", ["pocket", "english"])
def test_what_comes_along_leaks_nothing(data: str) -> None:
    library = Library.open(data)
    for behavior in map(library.behavior, library.names):
        assert leaks(behavior.train, behavior.test) == []


def test_the_papers_data_leak_a_little() -> None:
    library = Library.open(paper())
    found = {name: library.behavior(name) for name in ("refusal", "myopic-reward", "hallucination")}
    assert {name: len(leaks(each.train, each.test)) for name, each in found.items()} == {
        "refusal": 4,
        "myopic-reward": 2,
        "hallucination": 0,
    }


def test_a_run_on_leaking_data_is_refused_unless_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("place/generate/greeting/generate_dataset.json"), [record(index) for index in range(20)])
    write(Path("place/test/greeting/test_dataset_ab.json"), [record(index) for index in range(15, 25)])
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", "place", "--out", "out"]
    assert execute(command) == 2
    said = capsys.readouterr().err
    assert "greeting: 5 of 10 test questions stand among the pairs to fit on" in said and said.count("\n") == 1
    assert "say --allow-leaks" in said and not Path("out").exists()
    spec = Specification(behaviors=("greeting",), stacks=("caa",), data=Path("place"), layer="1", allow_leaks=True)
    (note,) = [note for note in make_plan(spec).notes if "5 of 10 test questions" in note]
    assert json.dumps(note) and "shifts may be larger" in note


def test_validate_sees_what_a_run_refuses_and_warns_of_what_is_half_alike(tmp_path: Path) -> None:
    def stems(*texts: str) -> list[dict[str, str]]:
        return [{**record(i), "question": f"{text}\n (A) Yes\n (B) No"} for i, text in enumerate(texts)]

    write(
        tmp_path / "generate/greeting/generate_dataset.json", stems(f"{LONG}?", *map("Is {} a number?".format, "123"))
    )
    near, half = f"{LONG.removesuffix('one')}sum?", f"{LONG.removesuffix('a much larger one')}nothing at all?"
    write(tmp_path / "test/greeting/test_dataset_ab.json", stems(near, half, "What else?"))
    behavior = Library.open(tmp_path).behavior("greeting")
    findings = [(one.level, one.text) for one in check_behavior(behavior) if one.part == "test" and " pair" in one.text]
    assert findings == [
        ("error", "1 question among the pairs to generate from, word for word or nearly: test/0 = generate/0."),
        ("warning", "1 question half like a pair to generate from: test/1 = generate/0."),
    ]
    with pytest.raises(CompareError, match="1 of 3 test questions stand among the pairs"):
        leak_notes({"greeting": behavior}, allowed=False)
