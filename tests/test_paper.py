"""The paper's grid beside its published numbers, its result files as a run, and its figures."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons.cli import execute as cli
from comparisons.cli.replicate import _show
from comparisons.experiment.specification import Specification
from comparisons.paper.figures import curves, label_panels
from comparisons.paper.render import write_paper, write_replication
from comparisons.paper.replicate import KNOWLEDGE, beside, lines, notes, published, replication
from comparisons.paper.results import ResultFile, import_results
from comparisons.report.export import latex_text
from comparisons.results.folder import read_summary
from comparisons.results.summary import Summary, SummaryRow
from comparisons.running.job import Outcome
from comparisons.util.errors import CompareError
from tests.made_runs import FACTS, baseline, cell, make_run
from tests.places import fact, record

MODEL = "_use_base_model=False_model_size=7b"


def results_file(folder: Path, layer: int, multiplier: float, kind: str = "ab", more: str = "") -> Path:
    """Writes what the paper's program writes: probabilities that follow the multiplier."""
    random = np.random.default_rng([layer, round(10 * multiplier) + 50])
    rows = []
    for i in range(12):
        p = float(np.clip(0.5 + 0.3 * multiplier + random.normal(0, 0.05), 0.02, 0.98))
        item = record(i) if kind == "ab" else {("question" if k == "prompt" else k): v for k, v in fact(i).items()}
        first = item.get("answer_matching_behavior", item.get("correct")) == "(A)"
        rows.append({**item, "a_prob": 0.9 * (p if first else 1 - p), "b_prob": 0.9 * (1 - p if first else p)})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"results_layer={layer}_multiplier={multiplier}_behavior=greeting_type={kind}{more}{MODEL}.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for layer in (12, 13):
        for multiplier in (-1.0, 0, 1.0):
            results_file(folder / "greeting", layer, multiplier)
            results_file(folder / "greeting", layer, multiplier, "ab", "_system_prompt=pos")
    for multiplier in (0, 1.0):
        results_file(folder, 13, multiplier, "mmlu")
    return folder


class TestImport:
    def test_the_numbers_are_those_of_the_files(self, theirs: Path, tmp_path: Path) -> None:
        import_results(theirs, tmp_path / "run")
        rows = read_summary(tmp_path / "run").rows
        found = {(row.method, row.direction, row.layer): row for row in rows}
        assert len(rows) == 1 + 1 + 2 * 4
        assert {row.status for row in rows} == {"done"}
        assert {row.model for row in rows} == {"llama-2-7b-chat"}
        row = found["caa", "pos", 13]
        given = json.loads(next(theirs.rglob("results_layer=13_multiplier=1.0*type=ab_use*")).read_text())
        expected = np.mean(
            [
                (x["a_prob"] if x["answer_matching_behavior"] == "(A)" else x["b_prob"]) / (x["a_prob"] + x["b_prob"])
                for x in given
            ]
        )
        assert row.p_match == pytest.approx(expected, abs=1e-6)
        assert row.lost_mass == pytest.approx(0.1, abs=1e-6)
        assert row.knowledge_set == "mmlu"
        assert row.cost is not None
        assert row.cost < -0.2
        assert found["caa", "neg", 13].knowledge is None
        assert found["sysprompt", "pos", None].layer is None
        assert (tmp_path / "run" / "report.md").read_text().startswith("# Changing greeting in llama-2-7b-chat")

    def test_curves_pictures_and_tables(self, theirs: Path, tmp_path: Path) -> None:
        import_results(theirs, tmp_path / "run")
        found = {(c.context, c.layer): c for c in curves(read_summary(tmp_path / "run"))}
        assert {key[0] for key in found} == {"alone", "sysprompt:pos"}
        alone = found["alone", 13]
        assert [point.multiplier for point in alone.points] == [-1, 0, 1]
        baseline = next(row for row in read_summary(tmp_path / "run").rows if row.is_baseline)
        assert alone.points[1].p_match == baseline.p_match
        written = write_paper(tmp_path / "run")
        assert [path.name for path in written] == ["by-multiplier.png", "curves.csv", "curves.tex"]
        with (tmp_path / "run" / "paper" / "curves.csv").open() as file:
            table = list(csv.DictReader(file))
        assert len(table) == sum(len(curve.points) for curve in found.values())
        assert r"\toprule" in (tmp_path / "run" / "paper" / "curves.tex").read_text()

    def test_file_names(self) -> None:
        name = "results_layer=13_multiplier=-1.5_behavior=myopic-reward_type=truthful_qa_override_vector=20"
        found = ResultFile.parse(Path(f"{name}_use_base_model=True_model_size=13b.json"))
        assert (found.layer, found.multiplier, found.kind, found.model) == (13, -1.5, "truthful_qa", "llama-2-13b")
        assert found.facts["override_vector"] == "20"
        path = Path("results_layer=1_multiplier=1_behavior=a_type=ab_override_model_weights_path=tuned_neg.json")
        assert ResultFile.parse(path).context() == ("sft", "neg")

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ("empty", "holds no results_layer"),
            ("no baseline", "no file of multiplier 0"),
            ("probability", "'a_prob' must be a probability, not 1.5"),
            ("two models", "llama-2-7b and llama-2-7b-chat"),
            ("name", "must tell 'type='"),
            ("number", "must be numbers"),
            ("type", "of type open_ended alone"),
            ("direction", "must tell the direction of 'custom'"),
            ("broken", "is not JSON"),
        ],
    )
    def test_what_is_wrong_is_named(self, change: str, says: str, tmp_path: Path) -> None:
        folder = tmp_path / "results"
        folder.mkdir()
        if change not in ("empty", "no baseline"):
            path = results_file(folder, 13, 0)
        if change == "no baseline":
            results_file(folder, 13, 1.0)
        elif change == "probability":
            path.write_text(re.sub(r'"a_prob": [0-9.]+', '"a_prob": 1.5', path.read_text(), count=1))
        elif change == "two models":
            path.with_name(path.name.replace("False", "True")).write_bytes(path.read_bytes())
        elif change == "name":
            path.rename(folder / "results_layer=1_multiplier=1_behavior=x.json")
        elif change == "number":
            path.rename(folder / "results_layer=one_multiplier=1_behavior=x_type=ab.json")
        elif change == "type":
            path.rename(folder / "results_layer=1_multiplier=1_behavior=x_type=open_ended.json")
        elif change == "direction":
            results_file(folder, 13, 1.0, "ab", "_system_prompt=custom")
        elif change == "broken":
            path.write_text("[")
        with pytest.raises(CompareError, match=says) as error:
            import_results(folder, tmp_path / "run")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()


def grid_rows(p_match: float = 0.5) -> list[SummaryRow]:
    def row(method: str, direction: str | None, strength: float, **more: Any) -> SummaryRow:
        key = f"refusal/{method}/{direction}/{strength:g}" if direction else "refusal/baseline"
        interval = (p_match - 0.1, p_match + 0.1)
        return SummaryRow(
            "m", "refusal", key, method, direction, strength, p_match=p_match, p_match_ci=interval, **more
        )

    found = [row("baseline", None, 0.0, knowledge=0.6, knowledge_set="mmlu")]
    for context in published().contexts:
        found += [row(context.steered, direction, 1.0, layer=13) for direction in ("pos", "neg")]
        if context.plain:
            found.append(row(context.plain[0], context.plain[1], 1.0))
    return found


class TestReplication:
    def test_every_published_number_has_its_place(self, tmp_path: Path) -> None:
        model = beside(32)
        found = lines(grid_rows(0.5), model)
        assert model.name == "Llama 2 7B Chat"
        assert len(found) == 5 * 3 + 1
        assert all(line.ours is not None and line.theirs is not None for line in found)
        first = found[2]
        assert (first.context, first.multiplier, first.theirs) == ("none", 1.0, 0.89)
        assert first.difference == pytest.approx(0.5 - 0.89)
        assert (found[-1].context, found[-1].multiplier, found[-1].theirs) == (KNOWLEDGE, 0.0, 0.65)
        (tmp_path / "run").mkdir()
        write_replication(tmp_path / "run", found, model, notes(model, "m", embedded=True))
        with (tmp_path / "run" / "paper" / "replication.csv").open() as file:
            table = list(csv.DictReader(file))
        assert [float(x["theirs"]) for x in table] == [line.theirs for line in found]
        assert "a rehearsal" in (tmp_path / "run" / "paper" / "replication.md").read_text()

    def test_a_broken_cell_has_no_number_beside_theirs(self) -> None:
        rows = [replace(row, broken=True, lost_mass=0.9) for row in grid_rows()]
        found = lines(rows, beside(32))
        assert {line.ours for line in found if line.context != KNOWLEDGE} == {None}
        assert all(line.theirs is not None for line in found)
        assert curves(Summary(tuple(rows))) == []

    def test_published_numbers_are_whole(self) -> None:
        assert len(published().models["7b"].p_match) == 7
        assert len(published().models["13b"].p_match) == 7
        for model in published().models.values():
            for contexts in model.p_match.values():
                assert all(len(three) == 3 and all(0 <= p <= 1 for p in three) for three in contexts.values())
        assert beside(40).layer == 14
        assert beside(5) is published().models["7b"]
        with pytest.raises(CompareError, match="7b"):
            beside(32, "70b")

    def test_a_run_without_the_grid_is_refused(self) -> None:
        with pytest.raises(CompareError, match="holds no number"):
            lines([SummaryRow("m", "refusal", "refusal/x/pos/2", "x", "pos", 2.0, p_match=0.4)], beside(32))

    def test_numbers_by_texts_are_beside_theirs_without_a_difference(self) -> None:
        row = SummaryRow("m", "refusal", "refusal/baseline", "baseline", None, 0.0, p_match=0.4, measure="answers")
        found = lines([row, replace(row, method="caa", direction="pos", strength=1.0)], beside(32))
        assert {line.difference for line in found} == {None} and {line.ours for line in found} >= {0.4}
        assert any("by the answers' texts, theirs by letters" in x for x in notes(beside(32), "m", False, "answers"))

    def test_the_grid_is_one_specification(self) -> None:
        spec = replication(Specification(behaviors=("refusal",), settings={"sft": {"epochs": ["1"]}}))
        assert spec.layer == "auto"
        assert spec.orders == "given"
        assert list(spec.settings["sft"]["epochs"]) == ["1"]
        read, target = spec.settings["caa"]["read"], spec.settings["sft"]["target"]
        assert (spec.measure, list(read), list(target)) == ("letters", ["letter"], ["letter"])
        assert replication(replace(spec, measure="answers")).measure == "answers"
        assert set(spec.stacks) == {s for c in published().contexts for s in (c.steered, *(c.plain or ())[:1])}


def test_the_command_prints_ours_theirs_and_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--train-items", "40", "--test-items", "8", "--layer", "1", "--knowledge", "none"]
    tuned = ["--set", "sft.epochs=1", "--set", "sft.learning_rate=3e-4"]
    assert cli(["replicate", "paper", "--behavior", "refusal", *few, *tuned, "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "difference" in said
    assert "positive finetuning" in said
    assert "a rehearsal" in " ".join(said.split())
    with Path("run/paper/replication.csv").open() as file:
        table = {(x["on"], float(x["multiplier"])): x for x in csv.DictReader(file)}
    rows = {(row.method, row.direction): row for row in read_summary(Path("run")).rows}
    assert float(table["positive prompt", 0.0]["ours"]) == rows["sysprompt", "pos"].p_match
    assert float(table["negative finetuning", 1.0]["ours"]) == rows["sft:neg+caa", "pos"].p_match
    assert (Path("run/paper/by-multiplier.png")).stat().st_size > 10_000


def test_it_says_why_a_number_of_ours_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [replace(baseline(), lost_mass=0.99, broken=True)]
    rows += [cell("sft:pos+caa", direction, 0.1, lost_mass=0.99, broken=True) for direction in ("pos", "neg")]
    model = {"model": {**FACTS["model"], "blocks": 32}}
    run = make_run(tmp_path / "run", rows, FACTS | model)
    _show(Outcome(run, rows), None)
    said = " ".join(capsys.readouterr().out.split())
    assert "puts 99% of the probability on something else than the letters" in said
    assert "on something else than the letters" in (run / "paper" / "replication.md").read_text()


def test_latex_escapes_what_it_would_read() -> None:
    text = latex_text(["a_b", "50%"], [["x & y", r"{\n}"]], "100 #1")
    assert r"a\_b & 50\% \\" in text
    assert r"x \& y & \{\textbackslash{}n\} \\" in text
    assert r"\caption{100 \#1}" in text


def test_shifts_are_drawn_by_label() -> None:
    def row(direction: str | None, strength: float, shifts: dict[str, float] | None = None) -> SummaryRow:
        given = (shifts or {}).items()
        labels: Any = {name: {"n_items": 9, "shift": v, "ci": [v - 0.1, v + 0.1]} for name, v in given}
        key, layer = f"honesty/caa/{direction}/{strength:g}", 2 if direction else None
        return SummaryRow(
            "m", "honesty", key, "caa" if direction else "baseline", direction, strength, layer=layer, p_match=0.5,
            labels=labels or None,
        )  # fmt: skip

    summary = Summary((row(None, 0.0), row("pos", 1.0, {"true": 0.2, "false": -0.1}), row("neg", 2.0, {"true": -0.3})))
    (panel,) = label_panels(summary, curves(summary))
    lines = {name: [(x, y) for x, y, _ in points] for name, points in panel.lines}
    assert lines == {"true": [(-2.0, -0.3), (0.0, 0.0), (1.0, 0.2)], "false": [(0.0, 0.0), (1.0, -0.1)]}
    assert panel.y_label == "shift of p_match"
