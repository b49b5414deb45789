"""`--match`: methods compared at one KL, or at one cost in knowledge, each at a strength that dev found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.evaluations.kl import kl_on, prompts_of
from comparisons.experiment.fitting import fitter_of
from comparisons.experiment.limits import Match, parse_match
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.judges.free_answers import OpenEnded
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.running.dev import Dev
from comparisons.running.estimate import estimate
from comparisons.running.matching import LARGEST, strength_at
from comparisons.running.planning import make_plan
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from tests.places import make_place, tokens_run, write
from tests.whole_runs import cell_files


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def looked_up(curve: Callable[[float], float], value: float, together: bool) -> tuple[float | None, int]:
    """The strength that was found, and how often was measured."""
    passes: list[Sequence[float]] = []

    def measure(strengths: Sequence[float]) -> list[float]:
        passes.append(strengths)
        return [curve(strength) for strength in strengths]

    found, known = strength_at(value, measure, together)
    assert {dose for each in passes for dose in each} == set(known) and len(known) == sum(map(len, passes))
    return found, len(passes)


CURVES: dict[str, Callable[[float], float]] = {
    "quadratic": lambda s: 0.7 * s * s,
    "steep": lambda s: 0.001 * s**5,
    "far below": lambda s: 1e-4 * s * s,
    "far above": lambda s: 40 * s * s,
    "up and down": lambda s: 0.4 * math.sin(s) ** 2,
    "a stack's": lambda s: 0.02 + 0.3 * s,
    "with a cost below 0 at first": lambda s: 0.3 * s * (s - 0.2),
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("curve", CURVES)
def test_the_smallest_strength_with_the_value_is_found_in_few_passes(curve: str, together: bool) -> None:
    found, passes = looked_up(CURVES[curve], 0.1, together)
    assert found is not None and CURVES[curve](found) == pytest.approx(0.1, rel=0.02)
    assert (passes <= 8 and found < 2) or curve in ("far below", "steep")


@pytest.mark.parametrize("together", [True, False])
def test_what_no_strength_has_is_none(together: bool) -> None:
    assert looked_up(lambda s: 0.05 * (1 - math.exp(-s)), 0.1, together)[0] is None
    assert looked_up(lambda s: 0.3 + s, 0.1, together) == (None, 1)
    assert looked_up(lambda s: 0.0, 0.1, together)[0] is None
    # A step has no strength at which the value lies.
    assert looked_up(lambda s: float(s > 0.6), 0.1, together)[0] is None
    assert LARGEST == 64


def numbers(out: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(Path(out, "summary.json").read_text())["rows"]}


def matched(out: str) -> list[dict[str, Any]]:
    records = json.loads(Path(out, "choices.json").read_text())["choices"]
    return [record for record in records if "match" in record]


def test_vectors_are_compared_at_one_kl_and_what_has_no_dose_at_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--behavior", "refusal", "--methods", "caa,sysprompt", "--match", "kl=0.1", "--out", "out"]
    command += ["--train-items", "60", "--test-items", "12", "--layer", "1", "--knowledge-items", "12"]
    assert cli(command) == 0
    rows, found = numbers("out"), matched("out")
    assert [record["direction"] for record in found] == ["pos", "neg"]
    for record in found:
        on_dev = dict(map(tuple, record["tried"]))[record["strength"]]
        assert on_dev == pytest.approx(0.1, rel=0.02)
        row = rows[f"refusal/caa/{record['direction']}/{record['strength']:g}"]
        assert row["matched"] == "kl=0.1" and row["kl"] == pytest.approx(0.1, rel=0.3)
        assert row["n_items"] == 12
    assert rows["refusal/sysprompt/pos/1"]["matched"] is None
    # Answers to a new prompt are at these strengths too.
    capsys.readouterr()
    assert cli(["generate", "out", "Hello?", "--tokens", "2", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    doses = {each["direction"]: each["strength"] for each in shown if each["method"] == "caa"}
    assert doses == {record["direction"]: record["strength"] for record in found}
    text = " ".join(Path("out/report.md").read_text().split())
    # At this KL there is caa alone, and what has another moved further: neither is kept from the reader.
    assert "To raise refusal at a KL of 0.1 on dev, caa moved it: +" in text
    assert "use caa; without a dose, and further: sysprompt +" in text
    assert "without a dose to match by: sysprompt +" in text and "## Matched on dev" in text
    # The same command has the strengths already, and a cell that is lost is made again at its own.
    before = rows["refusal/caa/pos/" + f"{found[0]['strength']:g}"]
    cell_files(Path("out"))[1].unlink()
    run = json.loads(Path("out/run.json").read_text())
    Path("out/run.json").write_text(json.dumps({**run, "complete": False}))
    assert cli(command) == 0
    assert numbers("out")[before["cell"]]["kl"] == pytest.approx(before["kl"], abs=1e-6)
    assert matched("out") == found


def test_adapters_and_stacks_are_scaled_and_what_cannot_be_reached_says_so(tmp_path: Path, model: str) -> None:
    place = make_place(tmp_path)
    write(place / "neutral/prompts.json", [{"question": f"What is number {n}?"} for n in range(12)])
    command = ["run", "--behavior", "greeting", "--methods", "sft,sft+caa", "--data", str(place), "--model", model]
    command += ["--layer", "1", "--directions", "pos", "--knowledge", "none", "--set", "kl.tokens=8", "--out", "out"]
    command += ["--set", "sft.epochs=1", "--set", "sft.epoch=1", "--set", "sft.learning_rate=0.01"]
    assert cli([*command, "--match", "kl=0.05"]) == 1
    alone, stack = matched("out")
    assert dict(map(tuple, alone["tried"]))[alone["strength"]] == pytest.approx(0.05, rel=0.02)
    rows = numbers("out")
    assert rows[f"greeting/sft/pos/{alone['strength']:g}"]["matched"] == "kl=0.05"
    # Beneath the vector stands the whole adapter, which is further off by itself.
    assert stack["strength"] is None and len(stack["tried"]) == 7
    failed = next(row for row in rows.values() if row["method"] == "sft+caa")
    assert "no strength of sft+caa has a KL of 0.05 on dev" in failed["error"]
    assert "strength 0 already" in failed["error"]


def test_dev_is_read_along_answers_as_long_as_those_of_the_run(tmp_path: Path) -> None:
    spec = Specification(ModelSource(), ("refusal",), ("caa",), layer="1", knowledge="none", match="kl=0.1")
    plan = make_plan(replace(spec, settings={"kl": {"tokens": ["3"]}}))
    lm, prompts = load(ModelSource()), prompts_of(plan).dev
    vector = Intervention(edits=(Edit(1, torch.full((lm.width,), 0.2)),))
    (found,) = Dev(fitter_of(plan, "refusal", lm, Store(tmp_path)), plan).measured("kl", [vector])
    short, long = (np.concatenate(kl_on(lm, prompts, [vector], tokens)[1][0]).mean() for tokens in (3, 40))
    assert found.value == pytest.approx(short, rel=1e-6) and abs(short - long) > 1e-4


def test_a_cost_is_matched_on_the_questions_that_are_held_out() -> None:
    command = ["run", "--behavior", "refusal", "--methods", "caa", "--match", "cost=0.05", "--out", "out"]
    command += ["--train-items", "60", "--test-items", "8", "--layer", "1", "--directions", "pos"]
    assert cli(command) == 0
    (record,) = matched("out")
    assert dict(map(tuple, record["tried"]))[record["strength"]] == pytest.approx(0.05, rel=0.02)
    row = next(row for row in numbers("out").values() if row["method"] == "caa")
    assert row["n_knowledge"] == 160 and row["cost"] == pytest.approx(0.05, abs=0.03) and row["kl"] is None


def test_a_coherence_is_matched_by_what_falls_and_on_prompts_that_are_held_out() -> None:
    command = ["run", "--behavior", "refusal", "--methods", "caa", "--match", "coherence=8", "--out", "out"]
    command += ["--train-items", "60", "--test-items", "12", "--layer", "1", "--directions", "pos"]
    assert cli([*command, "--knowledge", "none", "--judge", "rules", "--tokens", "30"]) == 0
    (record,) = matched("out")
    tried = dict(map(tuple, record["tried"]))
    assert tried[0.0] > 9 > tried[record["strength"]] > 7 and tried[record["strength"]] == pytest.approx(8, abs=0.2)
    row = next(row for row in numbers("out").values() if row["method"] == "caa")
    assert row["matched"] == "coherence=8" and row["open_ended"]["n_answers"] == 12
    text = " ".join(Path("out/report.md").read_text().split())
    assert "at a coherence of 8 on dev, caa moved it: +" in text and f", coherence {row['coherence']:.2f}" in text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--match", "coherence=10"], "--match takes a value"),
        (["--match", "coherence=7"], "--match coherence=7 needs free answers and a judge that rates them"),
        (["--match", "kl<=0.1"], "--match takes a value such as kl=0.1"),
        (["--match", "kl=0"], "--match takes a value"),
        (["--match", "kl=0.1", "--strengths", "1,2"], "leave out --strengths"),
        (["--match", "kl=0.1", "--select", "cost<=0.1"], "leave out --select"),
        (["--match", "cost=0.1", "--knowledge", "none"], "choose a set by --knowledge"),
        (["--match", "kl=0.1", "--executor", "ray"], "leave out --executor ray"),
    ],
)
def test_what_cannot_be_matched_is_refused(more: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["run", "--behavior", "refusal", "--methods", "caa", "--out", "out", *more]) == 2
    assert says in capsys.readouterr().err and not Path("out").exists()


def test_a_match_is_read() -> None:
    assert parse_match(" kl = 0.1 ") == Match("kl", 0.1) and str(Match("cost", 0.02)) == "cost=0.02"
    with pytest.raises(CompareError):
        parse_match("shift=1")


def test_the_estimate_counts_the_strengths_that_are_tried() -> None:
    spec = Specification(ModelSource(), ("refusal",), ("caa",), layer="1", knowledge="none", match="kl=0.1")
    spec = replace(
        spec, train_items=60, test_items=8, directions=("pos",), kl=True, settings={"kl": {"tokens": ["24"]}}
    )
    assert make_plan(spec).knowledge_dev == ()
    coherent = replace(spec, match="coherence=8", open_ended=OpenEnded())
    assert estimate(coherent).rated == 20 * 13
    # Answers count as long as they may get; these end sooner.
    assert 1 < estimate(spec).tokens / tokens_run(spec) < 2.5
