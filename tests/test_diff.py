"""`compare diff`: two runs paired by question, against numbers from their rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons import stats
from comparisons.cli import execute as cli
from comparisons.results.cells import read_rows
from comparisons.results.identity import CellId
from comparisons.running.differences import compare_runs
from tests.made_runs import make_run, write_cells
from tests.places import complaint

SMALL = ("--behavior", "refusal", "--train-items", "30", "--directions", "pos", "--layer")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        ask = ("--test-items", "12")
        assert cli(["run", *SMALL, "1", *ask, "--methods", "caa,sysprompt", "--out", "one"]) == 0
        assert cli(["run", *SMALL, "2", *ask, "--methods", "caa", "--seed", "0", "--out", "two"]) == 0
        assert cli(["run", *SMALL, "1", "--test-items", "9", "--methods", "caa", "--out", "fewer"]) == 0
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
