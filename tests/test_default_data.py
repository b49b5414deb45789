"""Without --data, pocket is asked in its own language and any other model in English; what was asked is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import comparisons
from comparisons.cli import cli, execute
from comparisons.dataset.behaviors import Library
from comparisons.dataset.packaged import ENGLISH, POCKET, place_of
from comparisons.experiment.specification import Specification
from comparisons.model.source import ModelSource
from comparisons.running.joining import join
from comparisons.running.planning import make_plan
from comparisons.running.provenance import identify
from comparisons.util.files import embedded
from tests.places import complaint, make_place
from tests.test_completion import commands
from tests.tiny import other_model

pytestmark = pytest.mark.slow

REAL = (
    "smollm2",
    "org/name",
    "org/name/model.Q4_K_M.gguf",
    "/a/folder",
    "./pocket",
    "model.gguf",
    "checkpoints/pocket",
)
ON = ("--behavior", "refusal")
FEW = (*ON, "--train-items", "4", "--test-items", "2", "--knowledge", "none")
COMMANDS = {
    "run": ("run", "--methods", "caa", "--layer", "1", *FEW),
    "sweep": ("sweep", "--methods", "caa", "--layers", "1", "--strengths", "1", *FEW, "--train-items", "16"),
    "generate": ("generate", "--methods", "caa", "--layer", "1", *ON, "--prompt", "Hello?", "--tokens", "2"),
    "replicate paper": ("replicate", "paper", *FEW, "--train-items", "16", "--dry-run"),
    "trace": ("trace", *ON, "--train-items", "4", "--item", "0"),
    "lens": ("lens", *ON),
    "vectors fit": ("vectors", "fit", *ON, "--train-items", "4"),
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The places whose behaviors have been read, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    places: list[Path] = []
    read = Library.behavior

    def noting(library: Library, name: str) -> object:
        places.append(library.place)
        return read(library, name)

    monkeypatch.setattr(Library, "behavior", noting)
    return places


def test_the_commands_that_read_behaviors_for_a_model_are_these() -> None:
    taken = {" ".join(path): {parameter.name for parameter in command.params} for path, command in commands(cli, ())}
    assert {name for name, names in taken.items() if names >= {"data", "model"}} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_another_model_is_asked_in_english_unless_pocket_s_data_are_named(
    name: str, model: str, opened: list[Path]
) -> None:
    given = [*COMMANDS[name], "--model", model]
    assert execute(given) == 0
    assert set(opened) == {place_of(ENGLISH)}
    opened.clear()
    assert execute([*given, "--data", "pocket"]) == 0
    assert set(opened) == {place_of(POCKET)}
    opened.clear()
    assert execute([*COMMANDS[name], "--model", "pocket"]) == 0
    assert set(opened) == {place_of(POCKET)}


@pytest.mark.parametrize("name", REAL)
def test_whatever_a_real_model_is_called(name: str) -> None:
    plan = make_plan(Specification(ModelSource(name), ("refusal",), ("caa",)))
    assert plan.spec.data == ENGLISH and plan.knowledge is not None and plan.knowledge.name == "english knowledge"
    assert Path(plan.behaviors["refusal"].source).is_relative_to(embedded("data") / "english")


def test_from_python_too(model: str, opened: list[Path]) -> None:
    found = comparisons.run("refusal", "caa", model=model, layer=1, train_items=4, test_items=2, knowledge_items=2)
    assert set(opened) == {place_of(ENGLISH)}
    assert json.loads((found.path / "run.json").read_text())["specification"]["data"] == "english"
    line = "Behaviors: english (natural English), 2 test questions; knowledge: english knowledge, 2 questions."
    assert line in (found.path / "report.md").read_text() and line in found.report.read_text()


def test_a_folder_called_like_data_that_come_along_is_not_taken_for_them(tmp_path: Path, opened: list[Path]) -> None:
    place = shutil.move(make_place(tmp_path), tmp_path / "english")
    few = ["--test-items", "2", "--knowledge-items", "2", "--train-items", "4"]
    asked = ["run", "--methods", "caa", "--layer", "1", *few]
    assert execute([*asked, "--behavior", "formality", "--data", "english", "--dry-run"]) == 0
    assert execute([*asked, "--behavior", "greeting", "--data", "./english", "--dry-run"]) == 0
    assert opened == [place_of(ENGLISH), Path(place)]


def test_models_of_which_one_is_another_are_asked_in_english(
    tmp_path: Path, opened: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other_model(tmp_path / "other")
    asked = ["run", "--methods", "sysprompt", *FEW, "--out", "out"]
    assert execute([*asked, "--model", "pocket,other"]) == 0
    assert set(opened) == {place_of(ENGLISH)}
    said = capsys.readouterr().out
    assert said.startswith("Behaviors: english (natural English), 2 test questions; no knowledge questions.\n")
    assert "pocket was trained on a language of its own" in (tmp_path / "out/report.md").read_text()


def test_a_run_begins_with_what_is_asked_and_its_report_says_it_once(
    tmp_path: Path, opened: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(tmp_path)
    asked = ["run", "--methods", "caa", "--layer", "1", "--behavior", "greeting", "--data", str(place), "--out", "out"]
    line = f"Behaviors: {place}, 6 test questions; no knowledge questions."
    for command in (asked, asked, ["report", "out"]):
        assert execute(command) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{line}\n") and said.count("Behaviors:") == 1
    assert (tmp_path / "out/report.md").read_text().count(line) == 1
    assert execute([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "out"
    assert execute([*asked, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(line)


def test_runs_from_before_pocket_s_data_had_a_name_go_on_and_join(
    tmp_path: Path, opened: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Specification(behaviors=("refusal",), stacks=("caa",), layer="1", train_items=16, test_items=4)
    plans = [make_plan(Specification(**{**vars(plain), "data": data})) for data in (None, POCKET)]
    assert identify(plans[0]) == identify(plans[1])
    assert identify(plans[0])["specification"]["data"] is None
    for method in ("caa", "actadd"):
        options = ["--layer", "1", "--train-items", "16", "--test-items", "4", "--knowledge", "none"]
        assert execute(["run", *ON, "--methods", method, *options, "--out", method]) == 0
    facts = json.loads((tmp_path / "caa/run.json").read_text())
    del facts["sha256"], facts["knowledge_questions"]
    facts["specification"]["data"] = None
    (tmp_path / "caa/run.json").write_text(json.dumps(facts))
    assert Specification.from_json(facts["specification"]).data == POCKET
    joint = join([tmp_path / "caa", tmp_path / "actadd"], tmp_path / "joint")
    assert (
        "Behaviors: pocket (the embedded model's own language), 4 test questions;" in (joint / "report.md").read_text()
    )


def test_a_behavior_of_other_data_is_told_where_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert execute(["run", "--behavior", "formality", "--methods", "caa"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "Known: coordinate-other-ais, " in line
    assert line.endswith("These are the behaviors of pocket; --data english has formality.\n")
    assert execute(["run", "--behavior", "charm", "--methods", "caa", "--model", "smollm2"]) == 2
    line = capsys.readouterr().err
    assert "formality" in line and line.endswith("These are the behaviors of english.\n")
    place = make_place(tmp_path)
    assert complaint(lambda: Library.open(place).behavior("refusal")).endswith(
        f"Known: greeting. These are the behaviors of {place}; --data pocket has refusal."
    )


def test_the_behaviors_that_come_along_are_listed_by_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["behaviors"]) == 0
    first, second = capsys.readouterr().out.split("english (natural English)")
    assert "pocket (the embedded model's own language)" in first and "formality" not in first
    assert all(name in second for name in Library.open("english").names)
    assert execute(["behaviors", "--data", "english"]) == 0
    assert "pocket" not in capsys.readouterr().out
