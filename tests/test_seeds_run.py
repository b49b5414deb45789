"""`--seeds`: each fit's answers are those of the run by its seed alone, and a cell is their average."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.splits import resample
from comparisons.experiment.specification import Specification
from comparisons.model.source import ModelSource
from comparisons.running.estimate import estimate
from comparisons.running.job import run
from comparisons.running.joining import join
from comparisons.running.planning import make_plan
from comparisons.stats import seed_spread
from comparisons.util.errors import CompareError
from tests.places import fact, make_place, record, write
from tests.test_runner import silent
from tests.whole_runs import cell_files

SEEDED = "fewshot"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> Specification:
    """A method that draws its examples, and a vector that draws nothing."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    place = make_place(tmp_path)
    write(place / "test/greeting/test_dataset_ab.json", [record(index) for index in range(100, 110)])
    write(place / "test/mmlu/mmlu.json", [fact(index) for index in range(12)])
    stacks = ("caa", SEEDED, "fewshot+caa")
    of = {SEEDED: {"examples": ("2",)}}
    return Specification(
        ModelSource(model),
        ("greeting",),
        stacks,
        data=place,
        layer="1",
        directions=("pos",),
        settings=of,
        knowledge="mmlu",
    )


def rows(spec: Specification, out: str) -> dict[str, Any]:
    found = {row.method: row for row in run(spec, silent, out=Path(out)).rows}
    assert {row.error for row in found.values()} == {None}
    return found


def answers(run: str, cell: str) -> dict[tuple[Any, ...], float]:
    lines = map(json.loads, Path(run, "results.jsonl").read_text().splitlines())
    keys = ("seed", "evaluation", "item", "order")
    return {tuple(row.get(key) for key in keys): row["p_match"] for row in lines if row["cell"] == cell}


def test_what_draws_at_random_has_seeds_and_all_else_is_fitted_once(spec: Specification) -> None:
    def seeds(**changes: Any) -> dict[str, tuple[int, ...]]:
        return {cell.label: cell.seeds for cell in make_plan(replace(spec, **changes)).cells}

    assert seeds() == {"baseline": (), "caa": (), "fewshot": (0,), "fewshot+caa": (0,)}
    three = seeds(seeds=3, seed=7)
    assert three == {"baseline": (), "caa": (), "fewshot": (7, 8, 9), "fewshot+caa": (7, 8, 9)}
    assert seeds(seeds=2, resample="pairs")["caa"] == (0, 1)
    # No pair is read: there is nothing to draw.
    assert seeds(seeds=2, resample="pairs", stacks=("actadd",), settings={})["actadd"] == ()
    with pytest.raises(CompareError, match="give --seeds of at least 2"):
        make_plan(replace(spec, resample="pairs"))


def test_each_fit_answers_as_in_the_run_by_its_seed(spec: Specification) -> None:
    spec = replace(spec, measure="letters")
    whole = rows(replace(spec, seeds=2), "whole")
    store = {path.name for path in Path("checkpoints").glob("fewshot*")}
    alone = [rows(replace(spec, seed=seed), f"alone{seed}") for seed in (0, 1)]
    # A fit in the store is nobody's but its seed's.
    assert {path.name for path in Path("checkpoints").glob("fewshot*")} == store
    for method in (SEEDED, "fewshot+caa"):
        cell = whole[method]
        assert cell.fits["seeds"] == [0, 1]
        assert cell.fits["shifts"] == pytest.approx([each[method].shift for each in alone], abs=1e-6)
        assert cell.shift == pytest.approx(sum(cell.fits["shifts"]) / 2)
        assert cell.cost == pytest.approx(sum(each[method].cost for each in alone) / 2, abs=1e-6)
        assert cell.content_shift == pytest.approx(sum(each[method].content_shift for each in alone) / 2, abs=1e-5)
        mine = answers("whole", cell.cell)
        for seed in (0, 1):
            theirs = answers(f"alone{seed}", cell.cell)
            assert {key[1:]: p for key, p in mine.items() if key[0] == seed} == pytest.approx(
                {key[1:]: p for key, p in theirs.items()}, abs=1e-6
            )
    assert alone[0][SEEDED].fits["seeds"] == [0] and alone[0][SEEDED].fits["deviation"] is None
    assert whole["caa"].fits is None and whole["caa"].shift == pytest.approx(alone[1]["caa"].shift, abs=1e-6)


def test_intervals_and_contrasts_hold_what_seeds_add(spec: Specification) -> None:
    found = rows(replace(spec, seeds=3, measure="answers"), "three")
    values, plain = answers("three", found[SEEDED].cell), answers("three", found["baseline"].cell)
    items = sorted({key[2] for key in plain if key[1] == "choices"})

    of = "choices", "given"
    table = [[values[seed, of[0], i, of[1]] - plain[None, of[0], i, of[1]] for i in items] for seed in (0, 1, 2)]
    spread, fits = seed_spread(table), found[SEEDED].fits
    assert spread is not None
    assert fits["deviation"] == pytest.approx(spread.deviation) and fits["seed_error"] ** 2 == pytest.approx(
        spread.added
    )
    # Beyond the questions' own interval as squares: t has two degrees of freedom.
    half = (found[SEEDED].shift_ci[1] - found[SEEDED].shift_ci[0]) / 2
    assert half > 4.3 * math.sqrt(spread.added)
    summary = json.loads(Path("three/summary.json").read_text())
    seeds = {(each["name_a"], each["name_b"]): each["n_seeds"] for each in summary["contrasts"]}
    assert seeds == {("caa", "fewshot"): 3, ("caa", "fewshot+caa"): 3, ("fewshot", "fewshot+caa"): 3}


def test_a_run_that_lost_a_cell_comes_to_the_same_numbers(spec: Specification) -> None:
    spec = replace(spec, seeds=2)
    before = rows(spec, "out")
    cell_files(Path("out"))[-1].unlink()
    after = rows(spec, "out")
    assert {name: row.shift for name, row in after.items()} == pytest.approx(
        {name: row.shift for name, row in before.items()}, abs=1e-6
    )
    assert after[SEEDED].fits == before[SEEDED].fits


def test_pairs_are_drawn_anew_with_each_seed(spec: Specification) -> None:
    (behavior,) = make_plan(spec).behaviors.values()
    drawn = [resample(behavior.train, seed) for seed in (0, 1)]
    assert [len(items) for items in drawn] == [len(behavior.train)] * 2 and drawn[0] != drawn[1]
    assert set(drawn[0]) < set(behavior.train) and max(Counter(item.id for item in drawn[0]).values()) > 1
    groups = [replace(item, template=f"t{i // 5}") for i, item in enumerate(behavior.train)]
    counts = Counter(item.template for item in resample(groups, 3))
    assert sum(count % 5 > 0 for count in counts.values()) <= 1
    found = rows(replace(spec, seeds=3, resample="pairs", stacks=("caa",), settings={}), "out")["caa"].fits
    assert len(set(found["shifts"])) == 3 and found["seeds"] == [0, 1, 2]


def test_an_estimate_counts_further_fits(spec: Specification) -> None:
    one, two, three = (estimate(replace(spec, seeds=count)) for count in (1, 2, 3))
    assert three.tokens - two.tokens == two.tokens - one.tokens > 0
    assert three.keys[0] == "greeting/baseline" and "greeting/fewshot/pos/1, 3 fits" in three.keys
    assert "greeting/caa/pos/1" in three.keys


def test_runs_of_other_seeds_join(spec: Specification) -> None:
    whole = rows(replace(spec, seeds=3), "whole")
    rows(spec, "first")
    rows(replace(spec, seed=1, seeds=2), "further")
    join([Path("first"), Path("further")], Path("joint"))
    joint = {row["method"]: row for row in json.loads(Path("joint/summary.json").read_text())["rows"]}
    for method in ("caa", SEEDED, "fewshot+caa"):
        expected = whole[method]
        assert joint[method]["shift"] == pytest.approx(expected.shift, abs=1e-6)
        assert joint[method]["shift_ci"] == pytest.approx(expected.shift_ci, abs=1e-2)
        assert joint[method]["cost"] == pytest.approx(expected.cost, abs=1e-6)
        fits = joint[method]["fits"]
        assert (fits and fits["seeds"]) == (expected.fits and expected.fits["seeds"])
        assert fits is None or fits["deviation"] == pytest.approx(expected.fits["deviation"], abs=1e-6)
    assert {each["n_seeds"] for each in json.loads(Path("joint/summary.json").read_text())["contrasts"]} == {3}
    assert answers("joint", whole[SEEDED].cell) == pytest.approx(answers("whole", whole[SEEDED].cell), abs=1e-6)
    with pytest.raises(CompareError, match="has a fit of greeting/fewshot/pos/1 by seed 1, as another run has"):
        join([Path("whole"), Path("further")], Path("twice"))
