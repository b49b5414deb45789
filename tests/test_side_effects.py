"""Side effects: every cell on the questions of the data's other behaviors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from comparisons.cli import execute as cli
from comparisons.report.side_effects import Effect, matrices, side_effect_table
from comparisons.results.summary import Summary
from tests.made_runs import PNG, baseline, cell, make_run, report
from tests.places import make_place, record, write


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two behaviors, the second with other questions."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = make_place(tmp_path)
    write(found / "generate/parting/generate_dataset.json", [record(index) for index in range(30, 50)])
    write(found / "test/parting/test_dataset_ab.json", [record(index) for index in range(200, 207)])
    return found


def test_a_cell_is_measured_on_the_other_behavior_as_if_it_were_its_own(place: Path, model: str) -> None:
    """A vector of one behavior, used on the other's questions, against the same vector asked there as the main job."""
    base = ["run", "--methods", "caa", "--layer", "1", "--data", str(place), "--model", model, "--directions", "pos"]
    base += ["--measure", "letters"]
    assert cli([*base, "--behavior", "greeting", "--side-effects", "--out", "side"]) == 0
    results = [json.loads(line) for line in Path("side/results.jsonl").read_text().splitlines()]
    assert {row["evaluation"] for row in results} == {"choices", "side:parting"}
    assert {row["behavior"] for row in results} == {"greeting"}
    side = [row for row in results if row["evaluation"] == "side:parting"]
    assert len(side) == 2 * 7 * 2  # cells × questions × orders
    rows = json.loads(Path("side/summary.json").read_text())["rows"]
    by_cell = {
        name: [row["p_match"] for row in side if row["cell"] == f"greeting/{name}"]
        for name in ("baseline", "caa/pos/1")
    }
    shift = sum(by_cell["caa/pos/1"]) / 14 - sum(by_cell["baseline"]) / 14
    assert rows[1]["side_effects"]["parting"]["shift"] == pytest.approx(shift, abs=1e-6)
    low, high = rows[1]["side_effects"]["parting"]["ci"]
    assert low <= shift <= high
    assert rows[0]["side_effects"] is None
    # The page has the questions behind it.
    (held,) = re.findall(
        '<script type="application/json" id="items">(.*?)</script>', Path("side/report.html").read_text()
    )
    items = json.loads(held)
    assert len(items["sets"]["parting"]) == 7 and items["sets"]["parting"] != items["sets"]["greeting"]
    means = [np.mean(items["cells"][f"greeting/{name}"]["side:parting"][1]) for name in by_cell]
    assert means[1] - means[0] == pytest.approx(shift, abs=1e-3)
    # The own numbers don't depend on what else is asked.
    assert cli([*base, "--behavior", "greeting", "--out", "plain"]) == 0
    plain = json.loads(Path("plain/summary.json").read_text())["rows"]
    assert plain[1]["shift"] == pytest.approx(rows[1]["shift"], abs=1e-6)
    assert plain[1]["side_effects"] is None
    assert cli([*base, "--behavior", "parting", "--out", "other"]) == 0
    other = json.loads(Path("other/summary.json").read_text())["rows"]
    assert other[0]["p_match"] == pytest.approx(sum(by_cell["baseline"]) / 14, abs=1e-6)


def test_data_with_one_behavior_has_none(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = place / "test/greeting/test_dataset_ab.json"
    arguments = ["run", "--methods", "caa", "--behavior", "all", "--data", str(one), "--layer", "1"]
    assert cli([*arguments, "--model", model, "--side-effects"]) == 2
    assert "--side-effects: the data has no other behavior than test_dataset_ab" in capsys.readouterr().err


def effects(**found: float) -> dict[str, dict[str, object]]:
    return {name: {"shift": shift, "ci": [shift - 0.05, shift + 0.05]} for name, shift in found.items()}


ROWS = (
    baseline("refusal"),
    cell("caa", "pos", 0.3, side_effects=effects(sycophancy=-0.2, myopia=0.01)),
    cell("caa", "neg", -0.3, side_effects=effects(sycophancy=0.2, myopia=0.0)),
    baseline("sycophancy"),
    cell("caa", "pos", 0.2, behavior="sycophancy", side_effects=effects(refusal=0.02, myopia=0.3)),
    cell("caa", "neg", -0.1, behavior="sycophancy", lost_mass=0.9, side_effects=effects(refusal=0.1, myopia=0.1)),
)


def test_a_matrix_of_behaviors_for_each_method_and_direction(tmp_path: Path) -> None:
    found = matrices(Summary(ROWS))
    assert [(matrix.title, matrix.lines, matrix.columns) for matrix in found] == [
        ("caa pos", ("refusal", "sycophancy"), ("refusal", "sycophancy", "myopia")),
        ("caa neg", ("refusal", "sycophancy"), ("refusal", "sycophancy", "myopia")),
    ]
    assert found[0].effects[0, "refusal"] == Effect(0.3, [0.25, 0.35], own=True, cell="refusal/caa/pos/1")
    assert [line.cells for line in side_effect_table(found[0]).rows] == [
        ("refusal", "(+0.300*)", "-0.200*", "+0.010"),
        ("sycophancy", "+0.020", "(+0.200*)", "+0.300*"),
    ]
    assert side_effect_table(found[1]).rows[1].cells == ("sycophancy", "–", "–", "–")
    text = report(make_run(tmp_path, ROWS))
    assert "## Side effects" in text
    assert (tmp_path / "figures/side-effects.png").read_bytes().startswith(PNG)


def test_one_behavior_has_one_matrix_of_cells(tmp_path: Path) -> None:
    (matrix,) = matrices(Summary(ROWS[:3]))
    assert matrix.lines == ("caa pos", "caa neg")
    assert matrix.columns == ("refusal", "sycophancy", "myopia")


def test_a_run_without_them_has_no_section(tmp_path: Path) -> None:
    text = report(make_run(tmp_path, [baseline(), cell("caa", "pos", 0.2)]))
    assert "Side effects" not in text
    assert not (tmp_path / "figures/side-effects.png").exists()
