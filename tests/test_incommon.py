"""What cells of several behaviors are asked in one pass: the numbers of each behavior alone, for fewer tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparisons.experiment.specification import Specification
from comparisons.model.source import ModelSource
from comparisons.running.estimate import estimate
from comparisons.running.job import run
from tests.places import fact, make_place, record, tokens_run, write
from tests.test_runner import plugin_folder, silent

pytestmark = pytest.mark.slow


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> Specification:
    """Two behaviors with different questions, and knowledge questions that take most of the tokens."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    place = make_place(tmp_path)
    write(place / "generate/parting/generate_dataset.json", [record(index) for index in range(30, 50)])
    write(place / "test/parting/test_dataset_ab.json", [record(index) for index in range(200, 204)])
    write(place / "test/mmlu/mmlu.json", [fact(index) for index in range(60)])
    both = ("greeting", "parting")
    return Specification(ModelSource(model), both, ("caa",), data=place, layer="1", knowledge="mmlu", strengths=(1, 2))


def rows(spec: Specification, out: str) -> dict[str, Any]:
    return {row.cell: row for row in run(spec, silent, out=Path(out)).rows}


def test_together_they_get_the_numbers_that_each_gets_alone(spec: Specification) -> None:
    spec = replace(spec, side_effects=True, stacks=("caa", "pca"))
    joint = rows(spec, "both")
    for name in spec.behaviors:
        alone = rows(replace(spec, behaviors=(name,)), name)
        for key, row in alone.items():
            assert joint[key].status == "done"
            for field in ("p_match", "shift", "knowledge", "cost"):
                assert getattr(joint[key], field) == pytest.approx(getattr(row, field), abs=1e-6), (key, field)
            # A bound is a quantile at a rank that BCa counts from draws: rounding may move one of 10,000 over the mean.
            assert joint[key].cost_ci == pytest.approx(row.cost_ci, abs=1e-5), key
            if not row.is_baseline:
                ((other, mine),), ((same, theirs),) = (each.side_effects.items() for each in (joint[key], row))
                assert other == same and mine["shift"] == pytest.approx(theirs["shift"], abs=1e-6)


def test_the_knowledge_questions_are_read_once(spec: Specification) -> None:
    joint = tokens_run(spec)
    alone = [tokens_run(replace(spec, behaviors=(name,))) for name in spec.behaviors]
    none = [tokens_run(replace(spec, behaviors=(name,), knowledge="none")) for name in spec.behaviors]
    # Of the second behavior's knowledge questions only its own branches are left.
    assert joint < sum(alone) - 0.6 * (alone[1] - none[1])
    assert estimate(spec).tokens == pytest.approx(joint, rel=0.15)
    assert sum(row.tokens_run for row in rows(spec, "out").values()) < joint


def test_many_cells_are_asked_behavior_by_behavior(spec: Specification, monkeypatch: pytest.MonkeyPatch) -> None:
    joint, expected = tokens_run(spec), rows(spec, "few")
    monkeypatch.setattr("comparisons.running.asking.MOST", 4)
    assert tokens_run(spec) > 1.2 * joint
    for key, row in rows(spec, "many").items():
        assert row.knowledge == pytest.approx(expected[key].knowledge, abs=1e-6)


def test_what_breaks_one_behaviors_cells_leaves_the_others(spec: Specification, tmp_path: Path) -> None:
    expected = rows(spec, "quiet")
    names = ["wide", "deep", "infinite"]
    found = rows(replace(spec, stacks=(*names, "caa"), plugins=plugin_folder(tmp_path, names)), "mixed")
    for key, row in expected.items():
        assert found[key].status == "done", found[key].error
        assert found[key].knowledge == pytest.approx(row.knowledge, abs=1e-6)
    for behavior in spec.behaviors:
        for name, why in (("wide", "width 3"), ("deep", "layers 0 to 3"), ("infinite", "not finite on")):
            assert why in found[f"{behavior}/{name}/pos/1"].error
