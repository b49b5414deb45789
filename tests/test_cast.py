"""`cast`: its condition by other code, and a run in which it acts on one kind of prompts alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from comparisons.cli import execute as cli
from comparisons.dataset.items import Item
from comparisons.intervention import Intervention
from comparisons.method import Fit, Use, check_method, read_vectors
from comparisons.method.registry import Registry
from comparisons.method.settings import parse_settings
from comparisons.running.share import make_bundle
from comparisons.util.errors import CompareError
from tests import oracle
from tests.places import fact, make_place, write
from tests.tiny import tiny_behavior, tiny_lm


def test_it_is_a_sound_method() -> None:
    check_method(Registry().get("cast"))


def neutral(count: int) -> list[Item]:
    return [Item.parse(f"facts/{i}", fact(i)["prompt"], "A", "B") for i in range(count)]


def best_by_counting(own: list[float], other: list[float]) -> float:
    """The best F1 that any threshold between two values has, on either side."""
    values = sorted([*own, *other])
    scores = []
    for low, high in pairwise(values):
        for sign in (1, -1):
            hits, false = (sum(sign * (v - (low + high) / 2) > 0 for v in each) for each in (own, other))
            scores.append(2 * hits / (2 * hits + false + len(own) - hits))
    return max(scores)


@pytest.mark.parametrize("measure", ["letters", "answers"])
def test_its_condition_is_the_component_and_the_threshold_that_other_code_finds(tmp_path: Path, measure: Any) -> None:
    lm, behavior, others = tiny_lm(), tiny_behavior(), neutral(9)
    method = parse_settings(Registry().get("cast"), {"layer": "2"}, "cast").under(measure)
    method.fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), tmp_path, measure=measure, neutral=others))

    def read(items: list[Item], third: bool) -> np.ndarray[Any, Any]:
        chosen = [item for i, item in enumerate(items) if (i % 3 == 2) == third]
        texts = [text for i in chosen for text in ([i.stem, i.question] if measure == "letters" else [i.stem])]
        ids = [lm.tokenize(lm.prompt(text)) for text in texts]
        return np.stack([oracle.activations(lm.model, lm.blocks, each, -1).double().numpy() for each in ids])

    (own, other), (held, held_other) = (
        (read([*behavior.train], third), read(others, third)) for third in (False, True)
    )
    directions = read_vectors(tmp_path / "condition").double().numpy()
    found = json.loads((tmp_path / "conditions.json").read_text())
    for layer, direction in enumerate(directions):
        rows = np.stack([own[i, layer] - other[i % len(other), layer] for i in range(len(own))])
        eigenvector = np.linalg.eigh(rows.T @ rows)[1][:, -1]
        assert abs(eigenvector @ direction) == pytest.approx(1, abs=1e-4)
        assert rows.mean(axis=0) @ direction > 0
        cosines = [[float(h @ direction / np.linalg.norm(h)) for h in part[:, layer]] for part in (held, held_other)]
        one = found[layer]
        sign = 1 if one["side"] == "above" else -1
        hits, false = (sum(sign * (v - one["threshold"]) > 0 for v in each) for each in cosines)
        assert one["f1"] == pytest.approx(2 * hits / (hits + false + len(held)), abs=1e-6)
        assert one["f1"] == pytest.approx(best_by_counting(*cosines), abs=1e-6)
    (edit,) = method.intervene(Use(behavior, "neg", 0.5, tmp_path)).edits
    assert edit.when is not None and edit.multiplier == -0.5
    torch.testing.assert_close(edit.vector, read_vectors(tmp_path)[2])
    best = max(range(3), key=lambda layer: (found[layer]["f1"], found[layer]["gap"]))
    assert (edit.when.layer, edit.when.threshold) == (best, found[best]["threshold"])


def test_a_condition_above_the_vector_and_too_few_neutral_questions_are_refused(tmp_path: Path) -> None:
    lm = tiny_lm()
    method = parse_settings(Registry().get("cast"), {"layer": "1", "condition_layer": "2"}, "cast")
    (tmp_path / "few").mkdir()
    with pytest.raises(CompareError, match="as many neutral ones"):
        method.fit(Fit(lm, tiny_behavior(), {}, "pos", 0, Intervention(), tmp_path / "few", neutral=neutral(5)))
    (tmp_path / "fit").mkdir()
    method.fit(Fit(lm, tiny_behavior(), {}, "pos", 0, Intervention(), tmp_path / "fit", neutral=neutral(6)))
    with pytest.raises(CompareError, match="condition at block 2 is decided too late"):
        method.intervene(Use(tiny_behavior(), "pos", 1.0, tmp_path / "fit"))


@pytest.mark.slow
def test_a_run_says_where_it_acts_and_leaves_the_rest_as_it_was(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, work = make_place(tmp_path), tmp_path / "work"
    write(place / "test/knowledge/knowledge.json", [fact(index) for index in range(24)])
    work.mkdir()
    monkeypatch.chdir(work)
    command = ["run", "--behavior", "greeting", "--methods", "cast", "--data", str(place), "--model", model]
    command += ["--directions", "pos", "--strengths", "4", "--layer", "1", "--measure", "answers", "--out", "out"]
    assert cli(command) == 0
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    (summary,) = (r for r in json.loads(Path("out/summary.json").read_text())["rows"] if r["cell"].endswith("/4"))
    assert summary["n_knowledge"] == 16  # of 24, the rest was the condition's
    measured = summary["measured"]["triggers"]
    acts = {r["item"]: r["acts"] for r in rows if r["evaluation"].startswith("triggers")}
    assert len(acts) == measured["n_own"] + measured["n_neutral"] == 6 + 16
    assert {r["cell"] for r in rows if r["evaluation"].startswith("triggers")} == {summary["cell"]}

    when = json.loads(Path("out/best/intervention.json").read_text())["edits"][0]["when"]
    vector = load_file("out/best/edits.safetensors")[when["tensor"]]
    lm = tiny_lm()
    asked = json.loads((place / "test/greeting/test_dataset_ab.json").read_text())
    for i, record in enumerate(asked):
        ids = lm.tokenize(lm.prompt(record["question"].partition("\n\nChoices")[0]))
        value = oracle.cosine(oracle.activations(lm.model, lm.blocks, ids, -1)[when["layer"]], vector)
        assert acts[f"test/{i}"] == ((value > when["threshold"]) == (when["side"] == "above"))
    known = {(row["cell"], row["item"]): row["logp_matching"] for row in rows if row["evaluation"] == "knowledge"}
    still = [item for cell, item in known if cell == summary["cell"] and not acts[item]]
    for item in still:
        assert known[summary["cell"], item] == pytest.approx(known["greeting/baseline", item], abs=1e-4)
    assert still and any(acts.values())
    assert "## Where edits with a condition act" in Path("out/report.md").read_text()
    shared = make_bundle(Path("out"), "me/cast", Path("shared"))
    assert {file.name for file in shared.iterdir()} == {"README.md", "edits.safetensors", "intervention.json"}
    assert "A file of vectors can't say on which prompts" in (shared / "README.md").read_text()
