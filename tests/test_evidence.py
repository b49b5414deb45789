"""Flips, joint p-values, stacks against their parts and slopes of a run, by hand from its results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from comparisons.cli import execute as cli
from comparisons.experiment.specification import Specification
from comparisons.report.evidence import verdict
from comparisons.results.findings import answer
from comparisons.running.planning import make_plan
from tests.made_runs import baseline, cell

Run = tuple[dict[str, dict[str, Any]], dict[str, dict[str, list[dict[str, Any]]]], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run on the embedded model: its summary rows, its result rows by cell and item, its report."""
    out = tmp_path_factory.mktemp("evidence") / "run"
    command = "run --behavior refusal --methods caa,sysprompt,sysprompt+caa --layer 1 --test-items 12"
    few = ["--knowledge-items", "12", "--strengths", "0.5,1", "--directions", "pos"]
    assert cli([*command.split(), *few, "--out", str(out)]) == 0
    rows = {row["cell"]: row for row in json.loads((out / "summary.json").read_text())["rows"]}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in (out / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["evaluation"] == "choices":
            found.setdefault(row["cell"], {}).setdefault(row["item"], []).append(row)
    return rows, found, (out / "report.md").read_text()


def per_item(run: Run, name: str, logits: bool = False) -> np.ndarray:
    def value(row: dict[str, Any]) -> float:
        return float(row["logp_matching"] - row["logp_contrast"] if logits else row["p_match"])

    asked = run[1][f"refusal/{name}"]
    return np.array([np.mean([value(row) for row in asked[item]]) for item in sorted(asked)])


def test_flips_are_mcnemars(run: Run) -> None:
    before, after = per_item(run, "baseline") > 0.5, per_item(run, "caa/pos/1") > 0.5
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = scipy_stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    found = run[0]["refusal/caa/pos/1"]["flips"]
    assert (found["gained"], found["lost"]) == (gained, lost)
    assert found["p_value"] == pytest.approx(p)


def test_the_first_joint_p_is_the_share_of_patterns_whose_largest_statistic_reaches_it(run: Run) -> None:
    keys = [key for key, row in run[0].items() if row["shift"] is not None]
    shifts = np.stack([per_item(run, key.split("/", 1)[1]) - per_item(run, "baseline") for key in keys])
    # Questions of one template flip together.
    asked = make_plan(Specification(behaviors=("refusal",), stacks=("caa",), test_items=12, knowledge_items=12))
    template = {item.id: item.template or item.id for item in asked.behaviors["refusal"].test}
    labels = [template[item] for item in sorted(run[1]["refusal/baseline"])]
    shifts = np.stack([shifts[:, [label == one for label in labels]].sum(axis=1) for one in set(labels)], axis=1)
    scaled = shifts / np.sqrt((shifts**2).sum(axis=1, keepdims=True))
    count = shifts.shape[1]
    signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    largest = np.abs(signs @ scaled.T).max(axis=1)
    best = int(np.argmax(np.abs(scaled.sum(axis=1))))
    expected = float((largest >= abs(scaled[best].sum()) - 1e-9).mean())
    assert run[0][keys[best]]["p_max_t"] == pytest.approx(expected)


def test_a_stack_against_its_parts(run: Run) -> None:
    for logits, name in ((False, "shift"), (True, "content_shift")):
        stack, *parts = (
            per_item(run, cell, logits) for cell in ("sysprompt+caa/pos/1", "sysprompt/pos/1", "caa/pos/1")
        )
        expected = float((stack - sum(parts) + per_item(run, "baseline", logits)).mean())
        assert run[0]["refusal/sysprompt+caa/pos/1"]["interaction"][name] == pytest.approx(expected, abs=1e-5)
    assert run[0]["refusal/caa/pos/1"]["interaction"] is None
    assert "## Stacks against their parts" in run[2]


def test_slopes_over_strengths(run: Run) -> None:
    doses = [0.0, 0.5, 1.0]
    content = [per_item(run, name, logits=True) for name in ("baseline", "caa/pos/0.5", "caa/pos/1")]
    slopes = np.polyfit(doses, np.stack(content), 1)[0]
    found = run[0]["refusal/caa/pos/0.5"]["steerability"]
    assert found["strengths"] == doses
    assert found["slope"] == pytest.approx(slopes.mean(), abs=1e-5)
    assert found["quantiles"][2] == pytest.approx(np.median(slopes), abs=1e-5)
    assert found["anti_steerable"] == (slopes < 0).mean()
    assert [key for key, row in run[0].items() if row["steerability"]] == ["refusal/caa/pos/0.5"]


@pytest.mark.parametrize(
    ("direction", "bounds", "word"),
    [
        ("pos", [0.1, 0.2], "more"),
        ("neg", [0.1, 0.2], "less"),
        ("neg", [-2, -1], "more"),
        ("pos", [-1, 1], "no different"),
    ],
)
def test_more_or_less_than_the_sum_of_its_parts(direction: str, bounds: list[float], word: str) -> None:
    assert verdict(direction, {"content_ci": bounds}) == word


@pytest.mark.parametrize(
    ("low", "verdict", "text"),
    [
        (-0.01, "below", "at no measurable knowledge cost, by a margin of 0.02 (0.010 [-0.010, 0.017], 160 questions)"),
        (0.005, "below", "at a knowledge cost below the margin of 0.02 (0.010 [0.005, 0.017], 160 questions)"),
        (-0.01, "not testable", "at a knowledge cost that is not testable by a margin of 0.02 ("),
        (-0.01, "not shown", "at a knowledge cost that can't be told from 0 ("),
        (0.005, "not testable", "at a knowledge cost of 0.010 ["),
    ],
)
def test_no_cost_is_claimed_only_by_the_margin(low: float, verdict: str, text: str) -> None:
    test = {"verdict": verdict, "margin": 0.02, "limit": None, "mean": 0.015, "falls": 0.018, "cut": 0.019}
    given = {"cost": 0.01, "cost_ci": [low, 0.017], "cost_bound": 0.019, "n_knowledge": 160, "cost_test": test}
    assert text in (answer([baseline(), cell("caa", "pos", 0.2, **given)], "pos") or "")
    limited = {**given, "cost_test": {**test, "limit": 0.015}}
    said = answer([baseline(), cell("caa", "pos", 0.2, **limited)], "pos")
    assert "on test not shown to be within the limit of 0.015 (at most 0.019)" in (said or "")
