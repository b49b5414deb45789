"""Joining runs: equal to the one run that did it all, and refused with the reason where they don't belong together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute as cli
from comparisons.results.folder import run_faults
from comparisons.results.schema import Noise
from comparisons.running.differences import compare_runs
from comparisons.running.joining import join
from comparisons.running.same_cells import check_same
from tests.places import complaint
from tests.whole_runs import cell_files

pytestmark = pytest.mark.slow

RUN = ("run", "--behavior", "refusal", "--train-items", "30", "--layer")
TIMES = ("fit_seconds", "eval_seconds", "peak_memory_bytes", "tokens_run")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("joining")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        ask = ("--test-items", "9", "--knowledge-items", "9")
        fewer = ("--test-items", "7", "--knowledge-items", "7")
        for name, methods in (("one", "caa"), ("two", "sysprompt"), ("all", "caa,sysprompt")):
            assert cli([*RUN, "1", *ask, "--methods", methods, "--out", name]) == 0
        assert cli([*RUN, "2", *ask, "--methods", "caa", "--out", "deeper"]) == 0
        assert cli([*RUN, "1", *fewer, "--methods", "sysprompt", "--out", "fewer"]) == 0
        assert cli([*RUN, "1", *ask, "--methods", "sysprompt", "--seed", "1", "--out", "seed"]) == 0
        assert cli([*RUN, "1", *ask, "--methods", "sysprompt", "--orders", "given", "--out", "given"]) == 0
        assert cli([*RUN, "1", *ask, "--methods", "sysprompt", "--measure", "answers", "--out", "texts"]) == 0
        yield place


def rows(run: Path) -> dict[str, dict[str, Any]]:
    found = {row["cell"]: row for row in json.loads((run / "summary.json").read_text())["rows"]}
    return {cell: {k: v for k, v in row.items() if k not in TIMES} for cell, row in found.items()}


def near(found: Any, expected: Any) -> None:
    """Equal, but for numbers that another batch rounds otherwise."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            near(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for mine, other in zip(found, expected, strict=True):
            near(mine, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


def test_joint_runs_equal_the_run_that_did_it_all(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert cli(["report", "one", "two", "--out", "joint"]) == 0
    assert "sysprompt" in capsys.readouterr().out
    joint, whole = rows(place / "joint"), rows(place / "all")
    assert list(joint) == list(whole)
    for cell in whole:
        near(joint[cell], whole[cell])
    # The correction is over the joint table, which is larger than either.
    assert joint["refusal/caa/pos/1"]["p_holm"] > rows(place / "one")["refusal/caa/pos/1"]["p_holm"]
    joined, made = (
        {(r["cell"], r["evaluation"], r["item"], r["order"]): r for r in map(json.loads, path.read_text().splitlines())}
        for path in (place / "joint/results.jsonl", place / "all/results.jsonl")
    )
    near(joined, made)
    facts = json.loads((place / "joint/run.json").read_text())
    assert [run["run"] for run in facts["joined"]] == ["one", "two"]
    assert facts["specification"]["stacks"] == ["caa", "sysprompt"]
    assert json.loads((place / "joint/best/intervention.json").read_text())["cell"] == "refusal/sysprompt/pos/1"
    assert "Joined from one, two." in (place / "joint/report.md").read_text()
    # It is a run like any other: joined again, compared, rendered.
    assert cli(["report", "joint"]) == 0 and cli(["diff", "joint", "all"]) == 0
    near(rows(join([place / "joint", place / "two"], place / "again")), whole)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("deeper", "deeper has a cell refusal/caa/pos/1 with other settings (caa.layer): leave one run out"),
        ("fewer", "the knowledge questions differ"),
        ("seed", "the knowledge questions differ"),
        ("given", "the orders differs, both and given"),
        ("texts", "the measure differs, letters and answers"),
    ],
)
def test_what_is_not_comparable_is_refused_and_nothing_is_written(place: Path, other: str, said: str) -> None:
    assert said in complaint(lambda: join([place / "one", place / other], place / "refused"))
    assert not (place / "refused").exists()


def test_runs_of_two_measures_are_not_paired(place: Path) -> None:
    said = complaint(lambda: compare_runs(place / "two", place / "texts"))
    assert "one was asked with measure letters, the other with measure answers" in said


def test_a_run_in_the_joint_runs_place_stays(place: Path) -> None:
    before = {path: path.read_bytes() for path in (place / "all").rglob("*") if path.is_file()}
    assert "another specification" in complaint(lambda: join([place / "one", place / "two"], place / "all"))
    assert {path: path.read_bytes() for path in (place / "all").rglob("*") if path.is_file()} == before
    join([place / "one", place / "two"], place / "sealed")
    assert run_faults(place / "sealed") == []


def test_other_numbers_and_damage_are_found(place: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(place / name, tmp_path / name)
    changed = next(path for path in cell_files(tmp_path / "two") if b'"p_match": 0.9' in path.read_bytes())
    changed.write_bytes(changed.read_bytes().replace(b'"p_match": 0.9', b'"p_match": 0.8', 1))
    assert "is damaged" in complaint(lambda: join([tmp_path / "one", tmp_path / "two"], tmp_path / "out"))


def test_what_rounding_parts_in_16_bits_is_one_cell() -> None:
    def rows(off: float) -> list[dict[str, Any]]:
        signs = (1, -1, 1, 0)
        return [
            {"evaluation": "choices", "item": f"test/{i}", "order": "answers", "p_match": 0.5 + sign * off}
            for i, sign in enumerate(signs)
        ]

    noise: Noise = {"dtype": "bfloat16", "against": "float32", "n_items": 24, "mean": 0.002, "largest": 0.005}  # type: ignore[typeddict-item]
    assert check_same("refusal/baseline", rows(0.0), rows(0.0), Path("two"), None) == 0
    assert check_same("refusal/baseline", rows(0.0), rows(0.004), Path("two"), noise) == pytest.approx(0.003)
    for off, noisy in ((0.01, noise), (0.00001, None)):
        again = partial(check_same, "refusal/baseline", rows(0.0), rows(off), Path("two"), noisy)
        said = complaint(again)
        assert said.startswith("two has other numbers for refusal/baseline (item test/")


def test_other_numbers_are_found_in_each_order_and_evaluation() -> None:
    def row(evaluation: str, order: str, p_match: float | None) -> dict[str, Any]:
        return {"evaluation": evaluation, "item": "test/0", "order": order, "p_match": p_match}

    rows = [row("choices", "given", 0.5), row("choices", "swapped", 0.5), row("knowledge", "given", 0.5)]
    unscored = row("open_ended", "given", None)
    assert check_same("a/b", [*rows, unscored], [*rows, unscored], Path("two"), None) == 0
    for i, each in enumerate(rows):
        others = [*rows[:i], {**each, "p_match": 0.6}, *rows[i + 1 :]]
        assert "has other numbers" in complaint(partial(check_same, "a/b", rows, others, Path("two"), None))


def test_out_is_for_several_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["report", str(place / "one"), "--out", str(place / "x")]) == 2
    assert "--out is where several runs are joined" in capsys.readouterr().err
