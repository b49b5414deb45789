"""Controls in a run, and the rank of a vector among random ones, against the plain loop."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.measures import item_measures
from comparisons.evaluation.questions import questions, result_rows
from comparisons.evaluations.random_ranks import (
    N_RANDOM,
    RandomShifts,
    matched_interventions,
    random_interventions,
    random_shifts,
    sharing_key,
)
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.method.registry import Registry
from comparisons.model.source import ModelSource
from comparisons.results.findings import answer
from comparisons.results.folder import RunFolder, read_summary
from comparisons.running.estimate import estimate
from comparisons.running.planning import make_plan
from tests import oracle
from tests.places import make_place, tokens_run
from tests.tiny import WIDTH, tiny_behavior, tiny_lm
from tests.whole_runs import cell_files


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return make_place(tmp_path)


def command(place: Path, model: str, out: str, *more: str) -> list[str]:
    quick = [f"sft_shuffled.{name}=1" for name in ("epochs", "epoch")] + ["sft_shuffled.learning_rate=0.001"]
    settings = [part for text in quick for part in ("--set", text)] if "--controls" in more else []
    return [
        *("run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", str(place)),
        *("--model", model, "--out", out, *settings, *more),
    ]


def numbers(out: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(Path(out, "summary.json").read_text())["rows"]
    return {row["cell"]: row for row in rows}


def test_controls_join_the_run_are_marked_and_never_win(place: Path, model: str) -> None:
    """The behavior has no system prompt, so that the control that imitates its length fails with a line."""
    assert cli(command(place, model, "out", "--controls")) == 1
    controls = {name for name in Registry().names() if Registry().get(name).role == "control"}
    rows = numbers("out")
    assert {row["method"] for row in rows.values() if row["control"]} == controls
    failed = {row["method"] for row in rows.values() if row["status"] == "failed"}
    assert failed == {"neutral_prompt"}
    assert "has no system prompts" in rows["greeting/neutral_prompt/pos/1"]["error"]
    caa = rows["greeting/caa/pos/1"]
    assert caa["n_random"] == N_RANDOM >= 199
    low, middle, high = caa["random_shifts"]
    assert low <= middle <= high
    low, middle, high = caa["matched_shifts"]
    assert low <= middle <= high
    for name in ("random_rank_p", "matched_rank_p"):
        assert 2 / (N_RANDOM + 1) <= caa[name] <= 1
    assert rows["greeting/baseline"]["random_rank_p"] is None
    assert rows["greeting/sft_shuffled/pos/1"]["random_rank_p"] is None
    report = Path("out/report.md").read_text()
    assert "random_vector (control) | pos" in report
    assert "The grey band behind a bar above is where 95% of 199 random directions of the same norm" in report
    # However far a control goes, it is no answer.
    found = [replace(row, lost_mass=0.0, broken=False) for row in read_summary(Path("out")).rows]
    found = [replace(row, shift=1.0, shift_ci=[0.9, 1.0]) if row.control and row.shift else row for row in found]
    said = answer(found, "pos")
    assert said is not None and "random_vector" not in said and "caa" in said


def test_without_the_option_nothing_is_ranked(place: Path, model: str) -> None:
    assert cli(command(place, model, "out")) == 0
    assert {row["n_random"] for row in numbers("out").values()} == {None}
    assert not any(b"random" in path.read_bytes() for path in cell_files(Path("out")))


def test_a_resumed_run_keeps_the_ranks_and_does_not_run_them_again(
    place: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(place, model, "out", "--controls", "--directions", "pos")
    cli(arguments)
    whole = numbers("out")
    folder = RunFolder(Path("out"), json.loads(Path("out/run.json").read_text())["digest"])
    entry = folder.entries["greeting/random_vector/pos/1"]
    kept = {name: value for name, value in entry.info.items() if name != "random_ranks"}
    folder.commit(entry.cell, folder.rows(str(entry.cell)), kept)
    folder.close()
    asked: list[object] = []

    def counted(*arguments: Any) -> RandomShifts:
        asked.append(arguments)
        return random_shifts(*arguments)

    monkeypatch.setattr("comparisons.evaluations.random_ranks.random_shifts", counted)
    cli(arguments)
    again = numbers("out")
    ranks = ("random_rank_p", "random_shifts", "matched_rank_p", "matched_shifts", "n_random")
    assert again.keys() == whole.keys()
    for cell, name in product(whole, ranks):
        expected = whole[cell][name]
        # A resumed run asks other cells together, so that the last digits may differ.
        assert again[cell][name] == (expected if expected is None else pytest.approx(expected, abs=1e-6)), (cell, name)
    assert len(asked) == 1


def test_the_estimate_counts_random_directions_and_side_effects(
    place: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the controls' own cells: training is not counted by the engine."""
    monkeypatch.setattr("comparisons.running.planning._with_controls", lambda spec, registry: spec)
    for part in ("generate", "test"):
        shutil.copytree(place / part / "greeting", place / part / "parting")
    plain = Specification(ModelSource(model), ("greeting",), ("caa",), place, layer="1", strengths=(1.0, 2.0))
    assert estimate(replace(plain, controls=True)).tokens > 2 * estimate(plain).tokens
    for spec in (replace(plain, controls=True), replace(plain, side_effects=True)):
        assert estimate(spec).tokens == pytest.approx(tokens_run(spec), rel=0.15)


def test_a_control_has_the_settings_of_its_method(place: Path, model: str) -> None:
    """What is set of a method is set of its control, where that has such a setting and no value of its own."""
    given = {"caa": {"layer": ["0", "1"], "read": ["letter"]}, "random_vector": {"layer": ["1"]}}
    spec = Specification(ModelSource(model), ("greeting",), ("caa",), place, settings=given, controls=True)
    cells = [cell for cell in make_plan(spec).cells if cell.label in ("caa", "caa_shuffled", "random_vector")]
    fields = ("layer", "read")
    settings = {(cell.label, *(getattr(cell.elements[0].method, field) for field in fields)) for cell in cells}
    assert settings == {
        *product(["caa", "caa_shuffled"], [0, 1], ["letter"]),
        ("random_vector", 1, "letter"),
    }


def cell(vector: torch.Tensor, multiplier: float = 1.0, **more: Any) -> Intervention:
    return Intervention(edits=(Edit(1, vector, multiplier=multiplier, **more),))


def unit(seed: int, norm: float = 4.0) -> torch.Tensor:
    noise = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
    scaled: torch.Tensor = noise * norm / noise.norm()
    return scaled


def test_random_shifts_are_those_of_the_plain_loop() -> None:
    lm, items = tiny_lm(), tiny_behavior().test[:4]
    found = cell(unit(1, 4.0), multiplier=-1.5)
    asked = questions(items)
    logps = choice_logps(lm, [q.shown for q in asked], [Intervention()])
    baseline = item_measures(result_rows(asked, logps, 0, "choices", {}), "choices")
    pairs = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    shifts = random_shifts(lm, asked, baseline, found, seed=3, differences=lambda layer: pairs, count=5)
    blocks = lm.model.model.layers

    def p_match(edit: Any) -> float:
        values = []
        for item in items:
            for question, letters in (
                (item.question, (item.matching, item.contrast)),
                (oracle.swap(item.question), (item.contrast, item.matching)),
            ):
                both = [oracle.prompt_ids(lm.tokenizer, question, letter) for letter in letters]
                found = [oracle.logps(lm.model, blocks, ids, end, i, edit)[ids[i]].item() for ids, end, i in both]
                values.append(np.exp(found[0]) / np.exp(found).sum())
        return float(np.mean(values))

    drawn = [one.edits[0] for one in random_interventions(found, 5, seed=3)]
    torch.testing.assert_close(torch.stack([e.vector for e in drawn]).norm(dim=-1), torch.full((5,), 4.0))
    assert len({e.digest for e in drawn}) == 5
    assert {(e.layer, e.multiplier, e.positions) for e in drawn} == {(1, -1.5, "prompt_end")}
    plain = p_match((1, drawn[0].vector, 0.0))
    expected = [p_match((1, e.vector, -1.5)) - plain for e in drawn]
    np.testing.assert_allclose(shifts.shifts, expected, atol=1e-5)
    matched = [one.edits[0] for one in matched_interventions(found, lambda layer: pairs, 5, seed=3)]
    torch.testing.assert_close(torch.stack([e.vector for e in matched]).norm(dim=-1), torch.full((5,), 4.0))
    expected = [p_match((1, e.vector, -1.5)) - plain for e in matched]
    np.testing.assert_allclose(shifts.matched, expected, atol=1e-5)


def test_only_vectors_at_a_blocks_output_have_matched_ones() -> None:
    pairs = torch.ones(6, WIDTH, dtype=torch.float64)
    assert matched_interventions(cell(unit(1), site="mlp"), lambda layer: pairs, 3, 0) == []
    rows = Edit(1, torch.ones(2, WIDTH), positions="prompt_first:2")
    assert matched_interventions(Intervention(edits=(rows,)), lambda layer: pairs, 3, 0) == []
    assert matched_interventions(cell(unit(1)), lambda layer: pairs[:2], 3, 0) == []


def test_the_rank_is_two_sided_and_each_side_by_itself() -> None:
    found = RandomShifts((0.1, -0.2, 0.05, -0.01, 0.3, 0.2, 0.15, 0.12, 0.02))
    assert found.rank_p(0.4) == found.rank_p(-0.3) == 2 / 10
    assert found.rank_p(0.25) == found.rank_p(-0.2) == 4 / 10
    assert found.rank_p(0.1) == 1


def test_cells_share_random_directions_where_only_the_sign_differs() -> None:
    assert sharing_key(cell(unit(1))) == sharing_key(cell(unit(1), -1.0))
    assert sharing_key(cell(unit(1))) != sharing_key(cell(unit(1), 2.0))
    assert sharing_key(cell(unit(1), operation="ablate")) != sharing_key(cell(unit(1), -1.0, operation="ablate"))
    assert sharing_key(cell(unit(1))) != sharing_key(replace(cell(unit(1)), system="Be glad."))


def test_random_vectors_rank_about_uniformly() -> None:
    """40 vectors that are themselves random: their ranks fill the unit interval."""
    lm, asked = tiny_lm(), questions(tiny_behavior().test)
    tried = [Intervention(), *(cell(unit(100 + seed)) for seed in range(40))]
    logps = choice_logps(lm, [q.shown for q in asked], tried)
    rows = [result_rows(asked, logps, i, "choices", {}) for i in range(len(tried))]
    baseline, *cells = (item_measures(found, "choices") for found in rows)
    shifts = random_shifts(lm, asked, baseline, tried[1], seed=0)
    ranks = np.sort([shifts.rank_p(float((c.p_match - baseline.p_match).mean())) for c in cells])
    # Kolmogorov and Smirnov's distance; 0.26 is its 1% bound for 40.
    even = np.arange(1, 41) / 40
    assert max(np.abs(ranks - even).max(), np.abs(ranks - even + 1 / 40).max()) < 0.26
