"""`compare diff`: two runs paired by question, against numbers from their rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons import Result, stats
from comparisons.cli import execute as cli
from comparisons.report import render
from comparisons.results.cells import read_rows
from comparisons.results.folder import read_summary
from comparisons.results.identity import CellId
from comparisons.running.differences import compare_cells, compare_runs
from tests.made_runs import make_run, write_cells
from tests.places import complaint

SMALL = ("--behavior", "refusal", "--train-items", "30", "--directions", "pos", "--layer")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        ask = ("--test-items", "12", "--knowledge-items", "12")
        fewer = ("--test-items", "9", "--knowledge-items", "9")
        assert cli(["run", *SMALL, "1", *ask, "--methods", "caa,sysprompt", "--out", "one"]) == 0
        assert cli(["run", *SMALL, "2", *ask, "--methods", "caa", "--seed", "0", "--out", "two"]) == 0
        assert cli(["run", *SMALL, "1", *fewer, "--methods", "caa", "--out", "fewer"]) == 0
        yield place


def by_item(run: Path, cell: str, evaluation: str = "choices") -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in read_rows(run, (evaluation,), (cell,))[cell]:
        found.setdefault(row["item"], []).append(row["p_match"])
    return {item: float(np.mean(values)) for item, values in found.items()}


def test_changes_are_those_of_the_rows_and_what_differs_is_listed(runs: Path) -> None:
    found = compare_runs(runs / "one", runs / "two")
    made = {name: (before, after) for name, before, after in found.made}
    assert made["specification.layer"] == ("1", "2") and made["specification.stacks"] == ("caa, sysprompt", "caa")
    assert not any(name.startswith(("versions", "model", "started", "digest")) for name in made)
    assert found.only == (("refusal/sysprompt/pos/1",), ())
    baseline, caa = found.changes
    assert (baseline.change, baseline.p_value, baseline.row.is_baseline) == (0.0, 1.0, True)
    assert baseline.before == pytest.approx(np.mean(list(by_item(runs / "one", "refusal/baseline").values())))
    key = "refusal/caa/pos/1"
    shifts = []
    for name in ("one", "two"):
        mine, plain = by_item(runs / name, key), by_item(runs / name, "refusal/baseline")
        shifts.append(np.array([mine[item] - plain[item] for item in plain]))
    change = shifts[1] - shifts[0]
    assert (caa.before, caa.after, caa.change) == pytest.approx([shifts[0].mean(), shifts[1].mean(), change.mean()])
    rows = read_rows(runs / "one", ("choices",), (key,))[key]
    templates = {row["item"]: row["template"] for row in rows}
    groups = [templates[item] for item in by_item(runs / "one", key)]
    assert len(set(groups)) > 1 and caa.n_items == 12
    expected = stats.bca_interval(change, clusters=groups, seed=0)
    assert expected is not None and caa.ci == pytest.approx([expected.low, expected.high], abs=0.01)
    costs = [by_item(runs / name, key, "knowledge") for name in ("one", "two")]
    worse = np.mean([costs[0][item] - costs[1][item] for item in costs[0]])
    assert caa.cost_change == pytest.approx(worse, abs=1e-6)


def test_the_command_prints_it_and_a_run_equals_itself(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["diff", str(runs / "one"), str(runs / "two")]) == 0
    printed = capsys.readouterr().out
    assert "specification.layer: 1 → 2" in printed and "only in" in printed and "caa" in printed
    assert cli(["diff", str(runs / "one"), str(runs / "one"), "--json"]) == 0
    same: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert same["made"] == [] and same["only"] == [[], []]
    assert {(c["change"], c["p_value"]) for c in same["changes"]} == {(0.0, 1.0)} and len(same["changes"]) == 3


def test_a_run_compares_its_cells_and_diff_any_two_of_them(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = read_summary(runs / "one")
    (pair,) = summary.contrasts
    assert (pair["a"], pair["b"], pair["n_seeds"]) == ("refusal/caa/pos/1", "refusal/sysprompt/pos/1", 1)
    assert (pair["name_a"], pair["name_b"], pair["direction"]) == ("caa", "sysprompt", "pos")
    values = {key: by_item(runs / "one", key) for key in (pair["a"], pair["b"])}
    difference = np.mean([values[pair["a"]][item] - values[pair["b"]][item] for item in values[pair["a"]]])
    assert pair["difference"] == pytest.approx(difference) and pair["n_items"] == 12
    rows = read_rows(runs / "one", ("choices",), (pair["a"],))[pair["a"]]
    templates = len({row["template"] for row in rows})
    assert pair["n_clusters"] == templates == next(r.n_clusters for r in summary.rows if r.cell == pair["a"])
    costs = {key: by_item(runs / "one", key, "knowledge") for key in values}
    cheaper = np.mean([costs[pair["b"]][item] - costs[pair["a"]][item] for item in costs[pair["a"]]])
    cost, content = pair.get("cost"), pair.get("content")
    assert (
        cost and content and cost["difference"] == pytest.approx(cheaper) and cost["n_items"] == len(costs[pair["a"]])
    )
    record = json.loads((runs / "one/run.json").read_text())
    assert record.get("value", record)["specification"]["margin"] == pair["margin"] == 0.02

    frame = Result.read(runs / "one").contrasts
    assert list(frame.columns[:6]) == ["behavior", "direction", "a", "b", "name_a", "name_b"]
    assert frame.verdict.tolist() == [pair["verdict"]] and frame.cost_difference[0] == cost["difference"]
    assert Result.read(runs / "two").contrasts.empty

    assert cli(["diff", str(runs / "one"), "caa/pos/1", "sysprompt/pos/1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] == pytest.approx(pair["difference"])
    assert cli(["diff", str(runs / "one"), "sysprompt/pos/1", "baseline"]) == 0
    shown = capsys.readouterr().out
    shift = next(row.shift for row in summary.rows if row.cell == pair["b"])
    assert f"{shift:+.3f}" in shown and "baseline" in shown and "Towards pos" in shown
    assert "unknown cell 'cab/pos/1'" in complaint(lambda: compare_cells(runs / "one", "cab/pos/1", "baseline"))


def test_joined_and_older_runs_are_compared_too(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    ask = ("--test-items", "12", "--knowledge-items", "12", "--methods")
    assert cli(["run", *SMALL, "1", *ask, "caa", "--out", str(tmp_path / "caa")]) == 0
    assert cli(["run", *SMALL, "1", *ask, "sysprompt", "--out", str(tmp_path / "prompt")]) == 0
    assert cli(["report", str(tmp_path / "caa"), str(tmp_path / "prompt"), "--out", str(tmp_path / "both")]) == 0
    whole, joined = (read_summary(run) for run in (runs / "one", tmp_path / "both"))
    (one,), (other,) = whole.contrasts, joined.contrasts
    assert other["difference"] == pytest.approx(one["difference"]) and other["p_adjusted"] == one["p_adjusted"]
    assert (other["n_items"], other["verdict"], other.get("reason")) == (12, one["verdict"], one.get("reason"))
    band, again = ([row.shift_band for row in each.rows] for each in (whole, joined))
    assert band == [each if each is None else pytest.approx(each) for each in again]

    shutil.copytree(runs / "one", tmp_path / "older")
    written = json.loads((tmp_path / "older/summary.json").read_text())
    summary = written.get("value", written)
    rows = [{k: v for k, v in row.items() if k not in ("shift_band", "n_clusters")} for row in summary["rows"]]
    (tmp_path / "older/summary.json").write_text(json.dumps({"rows": rows}))
    render(tmp_path / "older")
    text = (tmp_path / "older/report.md").read_text()
    assert "## Methods against each other" in text
    assert text.partition("## Tests")[0] == (runs / "one/report.md").read_text().partition("## Tests")[0]


@pytest.mark.parametrize("margin", ["0", "1", "-0.1"])
def test_a_margin_is_a_difference_of_probabilities(margin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["run", *SMALL, "1", "--methods", "caa", "--margin", margin]) == 2
    assert "--margin must lie between 0 and 1" in capsys.readouterr().err


def test_what_can_not_be_paired_is_refused_with_the_reason(runs: Path, tmp_path: Path) -> None:
    said = complaint(lambda: compare_runs(runs / "one", runs / "fewer"))
    assert "their questions on refusal are not the same: use the same data, seed and --test-items" in said
    made = make_run(tmp_path / "made")
    assert "orders" in complaint(lambda: compare_runs(runs / "one", made)) or "split" in complaint(
        lambda: compare_runs(runs / "one", made)
    )
    write_cells(made, {CellId("refusal"): [{"evaluation": "choices"}]})
    assert "row 1: is no row" in complaint(lambda: compare_runs(made, runs / "one"))
    assert "there is no run in" in complaint(lambda: compare_runs(runs / "one", tmp_path / "nothing"))
