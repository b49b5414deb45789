"""Several models in one table: each evaluated as alone, side by side in the report; vectors from one on the other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute
from comparisons.experiment.specification import Specification
from comparisons.results.folder import read_summary, run_faults
from comparisons.results.identity import CellId
from comparisons.running.estimate import estimate
from comparisons.running.joining import join
from comparisons.stats import holm
from tests.places import complaint, few_questions
from tests.tiny import other_model

pytestmark = pytest.mark.slow

SMALL = ["--data", "few", "--train-items", "24", "--test-items", "8", "--knowledge", "none"]
RUN = ["run", "--behavior", "refusal,sycophancy", "--methods", "caa,sysprompt", *SMALL]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run of two models, and one of the second alone."""
    folder = tmp_path_factory.mktemp("models")
    other_model(folder / "other")
    few_questions(folder / "few")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert execute([*RUN, "--model", "pocket,other", "--open-ended", "--tokens", "4", "--out", "both"]) == 0
        assert execute([*RUN, "--model", "other", "--out", "alone"]) == 0
        assert execute([*RUN, "--model", "pocket", "--open-ended", "--tokens", "4", "--out", "first"]) == 0
    return folder


def test_runs_of_one_model_each_are_joined_to_what_a_run_of_both_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert execute(["report", "first", "alone", "--out", "joint"]) == 0
    assert "refusal in other" in capsys.readouterr().out
    joint, both = read_summary(place / "joint"), read_summary(place / "both")
    assert [row.cell for row in joint.rows] == [row.cell for row in both.rows] and joint.subjects == both.subjects
    for mine, other in zip(joint.rows, both.rows, strict=True):
        for name in ("p_match", "shift", "p_value", "p_holm", "p_max_t", "shift_ci"):
            assert getattr(mine, name) == pytest.approx(getattr(other, name), abs=1e-5), (mine.cell, name)
        assert (mine.model, mine.settings, mine.layer) == (other.model, other.settings, other.layer)
    text, facts = ((place / "joint" / name).read_text(encoding="utf-8") for name in ("report.md", "run.json"))
    assert "## Models side by side" in text
    assert set(json.loads(facts)["identity"]["model"]) == {"pocket", "other"}
    chosen = [json.loads((place / run / "choices.json").read_text())["choices"] for run in ("joint", "both")]
    first, second = ([(c["behavior"], c["model"], c["chosen"]) for c in run] for run in chosen)
    assert first == second
    best = [json.loads((place / run / "best" / "intervention.json").read_text())["cell"] for run in ("joint", "both")]
    assert best[0] == best[1]
    results = [
        {(r["cell"], r["evaluation"], r["item"], r["order"]) for r in map(json.loads, path.read_text().splitlines())}
        for path in (place / run / "results.jsonl" for run in ("joint", "both"))
    ]
    assert {key for key in results[1] if key[1] != "open_ended"} == {k for k in results[0] if k[1] != "open_ended"}
    assert run_faults(place / "joint") == []
    # A joint run of several models is joined like any other, and a model that lies elsewhere is the same model.
    shutil.copytree("other", "elsewhere")
    assert execute([*RUN, "--model", "elsewhere", "--methods", "actadd", "--out", "more"]) == 0
    again = read_summary(join([place / "joint", place / "more"], place / "again"))
    assert again.models == ("pocket", "other")
    assert [row.cell for row in again.rows if row.method == "actadd"] == [
        f"{name}/actadd/{direction}/1 in other" for name in ("refusal", "sycophancy") for direction in ("pos", "neg")
    ]


def test_other_models_of_one_name_are_not_joined(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other_model(tmp_path / "other", seed=5)
    few_questions(tmp_path / "few")
    assert execute([*RUN, "--model", "other", "--out", "changed"]) == 0
    said = complaint(lambda: join([place / "alone", tmp_path / "changed"], tmp_path / "refused"))
    assert "the model or its prompt format differs, and both are called other" in said
    assert not (tmp_path / "refused").exists()


def test_each_model_is_evaluated_as_alone(place: Path) -> None:
    both, alone = read_summary(place / "both"), read_summary(place / "alone")
    assert both.models == ("pocket", "other") and both.behaviors == ("refusal", "sycophancy")
    assert both.subjects == tuple(f"{name} in {model}" for model in both.models for name in both.behaviors)
    found = {row.cell: row for row in both.rows}
    for row in alone.rows:
        mine = found[f"{row.cell} in other"]
        assert mine.model == "other" and mine.layer == row.layer and mine.settings == row.settings
        assert mine.p_match == pytest.approx(row.p_match, abs=1e-6)
        assert mine.shift == pytest.approx(row.shift, abs=1e-6)
        assert mine.shift_ci == pytest.approx(row.shift_ci, abs=1e-6)
        assert mine.id.baseline == CellId(row.behavior, model="other") and mine.id.alone == row.id
    assert [row.p_holm for row in both.rows] == pytest.approx(holm([row.p_value for row in both.rows]))
    first, second = (found[f"refusal/caa/pos/1 in {model}"] for model in both.models)
    assert first.shift != second.shift


def test_the_report_shows_the_models_side_by_side(place: Path) -> None:
    text = (place / "both" / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Changing 2 behaviors in 2 models\n")
    assert "To raise sycophancy in other, " in text
    side = text[text.index("## Models side by side") :]
    rows = {row.cell: row for row in read_summary(place / "both").rows}
    line = next(line for line in side.splitlines() if line.startswith("| caa | pos |"))
    shifts = [rows[f"refusal/caa/pos/1 in {model}"].shift for model in ("pocket", "other")]
    assert [cell.split()[0] for cell in line.split("|")[3:5]] == [f"{shift:+.2f}" for shift in shifts]
    page = (place / "both" / "report.html").read_text(encoding="utf-8")
    assert "<option>refusal in other</option>" in page
    facts = json.loads((place / "both" / "run.json").read_text())
    assert [model["name"] for model in facts["models"]] == ["pocket", "other"]
    assert len({model["digest"] for model in facts["models"]}) == 2
    assert set(facts["identity"]["model"]) == {"pocket", "other"}


def test_choices_answers_and_the_best_cell_are_each_models_own(place: Path) -> None:
    choices = json.loads((place / "both" / "choices.json").read_text())["choices"]
    assert [(one["behavior"], one["model"]) for one in choices] == [
        (name, model) for model in ("pocket", "other") for name in ("refusal", "sycophancy")
    ]
    rows = [json.loads(line) for line in (place / "both" / "results.jsonl").read_text().splitlines()]
    assert {(row["model"], row["cell"].rpartition(" in ")[2]) for row in rows} == {("pocket",) * 2, ("other",) * 2}
    best = json.loads((place / "both" / "best" / "intervention.json").read_text())
    assert best["cell"].endswith(" in other") == ("other" in best["model"])


def test_scoring_and_comparing_runs_keep_to_each_model(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = {row.cell: row.open_ended for row in read_summary(place / "both").rows}
    assert execute(["score", "both", "--judge", "rules"]) == 0
    after: dict[str, Any] = {row.cell: row.open_ended for row in read_summary(place / "both").rows}
    assert after == before
    capsys.readouterr()
    assert execute(["diff", "both", "both", "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {change["cell"] for change in changes} == set(before)
    assert all(change["change"] == 0 for change in changes)


def test_a_vector_of_one_model_steers_both_and_none_of_another_width(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    monkeypatch.chdir(place)
    assert execute(["vectors", "fit", "--behavior", "refusal", "--model", "pocket", "--out", "base"]) == 0
    command = ["run", "--behavior", "refusal", "--methods", "caa", "--layer", "1", *SMALL]
    moved = [*command, "--set", "caa.vector_from=base/refusal.safetensors"]
    assert execute([*moved, "--model", "pocket,other", "--out", "moved"]) == 0
    shifts = {row.cell: row.shift for row in read_summary(place / "moved").rows}
    assert (shifts["refusal/caa/pos/1 in other"] or 0) > 0.1
    capsys.readouterr()
    assert execute([*moved, "--model", f"pocket,{model}", "--out", "narrow"]) == 1
    failed = {row.cell: row.error or "" for row in read_summary(place / "narrow").rows if row.failed}
    assert all(f"the vectors have width 128 and {model} has" in error for error in failed.values())
    assert set(failed) == {f"refusal/caa/{direction}/1 in {model}" for direction in ("pos", "neg")}


def test_a_model_that_cant_be_loaded_is_rows_and_the_others_go_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    other_model(place / "cut")
    weights = place / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    command = ["run", "--behavior", "refusal", "--methods", "sysprompt", *SMALL, "--out", "holed"]
    assert execute([*command, "--model", "pocket,cut"]) == 1
    rows = read_summary(place / "holed").rows
    assert {row.model for row in rows if row.failed} == {"cut"}
    assert all("can't load the model cut" in (row.error or "") for row in rows if row.failed)
    assert all(not row.failed for row in rows if row.model == "pocket")
    capsys.readouterr()


def test_the_estimate_counts_every_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    plain = Specification(
        behaviors=("refusal",), stacks=("caa", "sysprompt"), data=Path("few"), test_items=8, knowledge_items=8
    )
    one, two = estimate(plain), estimate(replace(plain, more_models=("other",)))
    assert (two.tokens, two.forwards, len(two.keys)) == (2 * one.tokens, 2 * one.forwards, 2 * len(one.keys))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([*RUN, "--model", "pocket,pocket"], "the model 'pocket' is named twice"),
        ([*RUN, "--model", ","], "--model is empty"),
        ([*RUN, "--model", "pocket,absent"], "no model 'absent'"),
        ([*RUN, "--model", "pocket,other", "--layer", "9"], "layer 9 is out of range"),
        (["sweep", "--behavior", "refusal", "--layers", "1", "--model", "pocket,other"], "a sweep is of one model"),
        (
            ["generate", "--behavior", "refusal", "--methods", "caa", "--prompt", "a", "--model", "pocket,other"],
            "answers are shown of one model at a time",
        ),
        ([*RUN, "--workers", "2"], "--workers goes with --executor ray"),
    ],
)
def test_mistakes(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    assert execute(arguments) == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1
    assert sorted(place.iterdir()) == before
