"""The same command gives the same bytes; what should not change numbers doesn't; the seed reaches what it should."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons import stats
from comparisons.dataset.behaviors import Library
from comparisons.engine.generate import generate
from comparisons.engine.sampling import Sampling
from comparisons.evaluations.random_ranks import random_interventions
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.judges.free_answers import OpenEnded
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.running.planning import make_plan
from comparisons.running.progress import Silent
from comparisons.running.runner import CellRunner, execute
from comparisons.util.artifacts import Store
from tests.forks import Command, Ended, Forks
from tests.places import few_questions
from tests.tiny import tiny_lm
from tests.whole_runs import FRESH

pytestmark = pytest.mark.slow

TRAINED = {"learning_rate": ["0.001"], "epochs": ["1"], "epoch": ["1"]}
CLOCKS = ("fit_seconds", "eval_seconds", "peak_memory_bytes")


def test_processes_that_hash_differently_write_the_same_bytes(
    forks: Forks, fresh_run: tuple[Path, Ended], tmp_path: Path
) -> None:
    few_questions(tmp_path / "few")
    (ended,) = forks.run(Command(FRESH, str(tmp_path)))
    assert ended.code == 0, ended.said
    found, summaries = [], []
    for place in (fresh_run[0], tmp_path):
        found.append((place / "out/results.jsonl").read_bytes())
        summary = json.loads((place / "out/summary.json").read_text())
        summaries.append([{k: v for k, v in row.items() if k not in CLOCKS} for row in summary["rows"]])
    assert found[0] == found[1] and found[0].count(b"\n") > 100
    assert summaries[0] == summaries[1]


def spec(**changes: Any) -> Specification:
    plain = Specification(
        ModelSource(), ("refusal",), ("caa", "sysprompt"), layer="1", train_items=16, test_items=8, knowledge_items=8
    )
    return replace(plain, **changes)


def p_matches(folder: RunFolder) -> dict[tuple[str, ...], float]:
    return {
        (row["cell"], row["evaluation"], row["item"], row["order"]): row["p_match"]
        for cell in folder.entries
        for row in folder.rows(cell)
        if row["p_match"] is not None
    }


def test_batches_do_not_change_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(spec(open_ended=OpenEnded(tokens=8)))
    found = []
    for budget in (256, 100_000):
        lm, folder = load(plan.spec.model), RunFolder(Path(f"run{budget}"), "digest")
        lm.token_budget = budget
        execute(plan, lm, Store(Path("store")), folder, Silent())
        assert all(folder.done(cell.key) for cell in plan.cells)
        found.append(
            (p_matches(folder), [row["answer"] for c in plan.cells for row in folder.rows(c.key) if "answer" in row])
        )
        folder.close()
    (numbers, answers), (others, other_answers) = found
    assert numbers.keys() == others.keys() and answers == other_answers
    assert max(abs(others[key] - value) for key, value in numbers.items()) < 1e-5
    for cell in plan.cells:
        for evaluation in ("choices", "knowledge"):
            mine = [key for key in numbers if key[:2] == (cell.key, evaluation)]
            means = [float(np.mean([each[key] for key in mine])) for each in (numbers, others)]
            assert means[0] == pytest.approx(means[1], abs=1e-6)


def built(seed: int, stack: str, place: Path) -> Intervention:
    """What a seed makes of a stack."""
    settings = {"sft": TRAINED} if stack == "sft" else {}
    plan = make_plan(spec(stacks=(stack,), seed=seed, settings=settings, directions=("pos",)))
    lm, folder = load(plan.spec.model), RunFolder(place / f"{stack}{seed}", "digest")
    try:
        bench = Fitter(lm, plan.behaviors["refusal"], {}, Store(place / f"store{seed}"), seed)
        return CellRunner(plan, bench, folder, Silent()).build(plan.cells[-1]).built.intervention
    finally:
        folder.close()


def test_the_seed_reaches_splits_subsets_intervals_fits_controls_and_answers(tmp_path: Path) -> None:
    refusal = Library.open("pocket").behavior("refusal")
    for split in ("dev", "test"):
        cut = [getattr(refusal.limited(None, 9, seed).with_dev(seed), split) for seed in (0, 0, 1)]
        assert cut[0] == cut[1] != cut[2]
    values = np.random.default_rng(0).normal(size=30)
    bounds = [stats.bca_interval(values, seed=seed) for seed in (0, 0, 1)]
    assert bounds[0] == bounds[1] != bounds[2]
    from safetensors.torch import load_file

    adapters = []
    for seed, folder in ((0, "a"), (0, "b"), (1, "a")):
        adapter = built(seed, "sft", tmp_path / folder).adapter
        assert adapter is not None
        adapters.append(load_file(adapter / "adapter_model.safetensors"))
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
    assert not all(torch.equal(adapters[0][name], adapters[2][name]) for name in adapters[0])
    vectors = [built(s, "random_vector", tmp_path / p).edits[0].vector for s, p in ((0, "a"), (0, "b"), (1, "a"))]
    assert torch.equal(vectors[0], vectors[1]) and not torch.equal(vectors[0], vectors[2])
    edit = Intervention(edits=(Edit(1, torch.ones(64)),))
    drawn = [random_interventions(edit, 2, seed)[0].edits[0].vector for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    lm, prompts = tiny_lm(), ["Would you mend the window?", "Why?"]
    texts = [generate(lm, prompts, [Intervention()], 12, Sampling(1.0, seed=seed)) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
