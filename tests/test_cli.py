"""The command line in process: exit codes, one clear line for every mistake, nothing written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute as run
from tests.places import make_place, record, write

MAIN = ["run", "--behavior", "greeting", "--methods", "caa"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data with one behavior, and an empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return make_place(tmp_path)


def complain(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that must end with exit code 2 and write nothing."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    assert list(Path.cwd().iterdir()) == []
    return captured.err


MISTAKES: dict[str, tuple[list[str], str]] = {
    "behavior": (["--behavior", "greting"], "unknown behavior 'greting'. Did you mean greeting"),
    "behavior twice": (["--behavior", "greeting,greeting"], "named twice"),
    "method": (["--methods", "cca"], "unknown method 'cca'. Did you mean pca or caa"),
    "no method": (["--methods", ""], "no methods"),
    "method twice in a stack": (["--methods", "caa+caa"], "twice"),
    "stack twice": (["--methods", "caa,caa"], "named twice"),
    "empty element": (["--methods", "caa+"], "empty element"),
    "direction": (["--directions", "up"], "unknown direction 'up'"),
    "direction in a stack": (["--methods", "caa:up"], "up"),
    "setting": (["--set", "caa.lyer=1"], "Did you mean layer"),
    "setting's value": (["--set", "caa.layer=first"], "caa.layer='first' is not valid"),
    "setting of an absent method": (["--set", "sft.rank=2"], "no stack of this run has a method 'sft'; it has caa."),
    "setting's form": (["--set", "layer"], "METHOD.FIELD=VALUE"),
    "strength below 0": (["--strengths", "-1"], "at least 0"),
    "strength not finite": (["--strengths", "nan"], "finite"),
    "strength no number": (["--strengths", "much"], "takes numbers"),
    "strength twice": (["--strengths", "1,1"], "named twice"),
    "strength of the leading method": (["--set", "caa.strength=2"], "changes nothing"),
    "layer": (["--layer", "x"], "caa.layer='x' is not valid"),
    "layer out of range": (["--layer", "4"], "layer 4 is out of range"),
    "negative layer": (["--layer", "-1"], "out of range"),
    "no training items": (["--train-items", "0"], "--train-items must be at least 1"),
    "too few to choose on": (["--train-items", "10"], "too few to choose settings"),
    "knowledge set": (["--knowledge", "mmlu"], "mmlu"),
    "choice": (["--orders", "neither"], "neither"),
    "option": (["--metods", "caa"], "--metods"),
    "model path": (["--model", "./nothing"], "no model './nothing'"),
    "model name": (["--model", "pockt"], "no model 'pockt'"),
    "data": (["--data", "nowhere"], "nowhere"),
    "data empty": (["--data", ""], "--data is empty"),
    "plugins": (["--plugins", "nowhere"], "nowhere"),
    "out is no folder": (["--out", "/dev/null/run"], "can't be written"),
    "template": (["--prompt-format", "wrong"], "wrong"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_writes_nothing(
    name: str, place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    extra, line = MISTAKES[name]
    assert line in complain([*MAIN, "--data", str(place), "--model", str(model), *extra], capsys)


def broken_test_file(place: Path, change: dict[str, Any]) -> None:
    items = [record(i) for i in range(6)]
    items[2] = {key: value for key, value in {**items[2], **change}.items() if value is not None}
    write(place / "test/greeting/test_dataset_ab.json", items)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": None}, ["item 3", "question"]),
        ({"answer_matching_behavior": None}, ["item 3", "answer_matching_behavior"]),
        ({"answer_matching_behavior": "(B)", "answer_not_matching_behavior": "(B)"}, ["item 3", "(B)"]),
        ({"answer_matching_behavior": "(F)"}, ["item 3", "F"]),
    ],
)
def test_broken_data_is_named_by_file_item_and_field(
    change: dict[str, Any], words: list[str], place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_test_file(place, change)
    line = complain([*MAIN, "--data", str(place), "--model", str(model)], capsys)
    for word in ["test_dataset_ab.json", *words]:
        assert word in line


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_without_a_part_is_named(
    missing: str, place: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "incomplete"
    folder.mkdir()
    for path in Path(model).iterdir():
        if path.name != missing:
            (folder / path.name).write_bytes(path.read_bytes())
    assert "has no" in complain([*MAIN, "--data", str(place), "--model", str(folder)], capsys)


def test_damaged_weights_are_one_line(
    place: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in Path(model).iterdir():
        (folder / path.name).write_bytes(path.read_bytes()[:1000])
    assert "can't load the model" in complain([*MAIN, "--data", str(place), "--model", str(folder)], capsys)


def test_the_main_job_resumes_renders_and_refuses_another_run(
    place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--behavior", "greeting", "--methods", "caa,caa+sysprompt", "--layer", "1"]
    command += ["--data", str(place), "--model", str(model), "--measure", "letters", "--out", "out"]
    assert run(command) == 1  # greeting has no system prompts: those cells fail, the others are done
    captured = capsys.readouterr()
    assert "greeting/caa+sysprompt/pos/1 failed: the behavior 'greeting' has no system prompts" in captured.err
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    assert [(r["method"], r["direction"], r["status"]) for r in rows] == [
        ("baseline", None, "done"),
        ("caa", "pos", "done"),
        ("caa", "neg", "done"),
        ("caa+sysprompt", "pos", "failed"),
        ("caa+sysprompt", "neg", "failed"),
    ]
    assert rows[3]["p_match"] is None and rows[1]["layer"] == 1
    results = Path("out/results.jsonl").read_text()
    assert len(results.splitlines()) == 3 * 6 * 2
    write(
        place / "generate/greeting/behavior.json",
        {"system_prompts": {"pos": "You take what is offered.", "neg": "You take nothing."}},
    )
    assert "another specification" in complain_inside(command, capsys)
    assert run([*command[:-1], "second"]) == 0
    assert Path("second/results.jsonl").read_text().startswith(results[:500])
    assert run([*command[:-1], "second"]) == 0
    assert run(["report", "second"]) == 0
    assert re.search(r"caa\+sysprompt +pos", capsys.readouterr().out)
    assert run(["report", "out"]) == 1


def complain_inside(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(arguments) == 2
    return capsys.readouterr().err


def test_a_dry_run_writes_nothing(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*MAIN, "--data", str(place), "--model", str(model), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 cells" in out and "greeting/caa/neg/1" in out and "forward passes" in out
    assert list(Path.cwd().iterdir()) == []


def test_json_is_the_summary(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*MAIN, "--layer", "0", "--data", str(place), "--model", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["rows"]] == ["baseline", "caa", "caa"]
    assert (Path(found["run"]) / "report.md").exists()


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "sweep",
        "report",
        "methods",
        "behaviors",
        "doctor",
        "trace",
        "lens",
        "generate",
        "new-method",
        "check-method",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert "Usage: compare" in capsys.readouterr().out


def test_the_options_of_a_run_stand_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    from comparisons.cli.run import command

    assert run(["run", "--help"]) == 0
    text = capsys.readouterr().out
    titles = (
        "What is compared",
        "On which model",
        "How it is measured",
        "Checks beside it",
        "Free answers",
        "Where and how",
    )
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert places[1] < text.index("\n  --model ") < places[2] < text.index("\n  --orders ") < places[3]
    assert all(text.count(f"  {param.opts[0]}") for param in command.params)


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rum"]) == 2
    assert "unknown command 'rum'. Did you mean run" in capsys.readouterr().err


def test_a_run_that_is_no_run_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no" in complain(["report", str(place)], capsys)
