"""Whether a model can be asked by letters: held against plain transformers, kept, and said in plain words."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import Item, Library
from comparisons.evaluation import lettered
from comparisons.evaluation.lettered import LetterCheck, letter_check
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Specification
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.running.planning import make_plan, measuring
from comparisons.util.artifacts import Store
from tests.places import make_place

SPEC = Specification(behaviors=("refusal",), stacks=("caa",))
CHECK = LetterCheck("org/a-model", "facts", 88, 0.25, (0.17, 0.35), 0.25, 0.6, 0.02, 0.01)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def letter_ps(lm: LM, item: Item) -> dict[str, float]:
    """The probability of each letter where whole answers differ, by plain transformers."""
    prompt = lm.tokenizer.apply_chat_template(
        [{"role": "user", "content": item.question}], tokenize=False, add_generation_prompt=True
    )
    whole = {x: lm.tokenizer(f"{prompt} ({x})", add_special_tokens=False).input_ids for x in "AB"}
    place = next(i for i, pair in enumerate(zip(*whole.values(), strict=True)) if len(set(pair)) > 1)
    with torch.no_grad():
        logps = lm.model(torch.tensor([whole["A"][:place]])).logits[0, -1].float().log_softmax(-1)
    return {letter: math.exp(logps[ids[place]]) for letter, ids in whole.items()}


def test_the_numbers_are_those_of_plain_code(tmp_path: Path) -> None:
    plan, lm = make_plan(SPEC), load(ModelSource())
    assert plan.probe is not None
    items = plan.probe.items[:12]
    plan = replace(plan, probe=replace(plan.probe, items=items))
    found = letter_check(lm, plan, Store(tmp_path / "store"))
    assert found is not None

    right, bias, lost = 0, [], []
    for item in items:
        p = letter_ps(lm, item)
        right += p[item.matching] > p[item.contrast]
        bias.append(p["A"] / sum(p.values()) - 0.5)
        lost.append(1 - sum(p.values()))
    assert found.letters == right / len(items) and found.n_items == len(items)
    assert found.chance == 0.5
    assert found.letter_bias == pytest.approx(np.mean(bias), abs=1e-5)
    assert found.lost_mass == pytest.approx(np.mean(lost), abs=1e-5)
    assert found.able and found.same_letter is not None and found.same_letter < 0.2
    assert found.sentence(plan).startswith("pocket can be asked by letters (pocket facts: ")


def test_it_is_asked_once_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, lm, store = make_plan(SPEC), load(ModelSource()), Store(tmp_path / "store")
    first = letter_check(lm, plan, store)
    monkeypatch.setattr(lettered, "choice_logps", None)  # a second question would fail
    assert letter_check(lm, plan, store) == first
    assert plan.probe is not None
    with pytest.raises(TypeError):
        letter_check(lm, replace(plan, probe=replace(plan.probe, items=plan.probe.items[:9])), store)


def run_json(out: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path(out, "run.json").read_text())
    return facts


def test_a_model_that_guesses_is_measured_by_texts_and_told_of(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(tmp_path)
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", str(place)]
    assert cli([*command, "--model", model, "--out", "auto"]) == 0
    facts = run_json("auto")
    (line,) = facts["measured"]
    assert "can't tell lettered choices apart" in line and line.endswith("measured by the answers' texts instead.")
    assert line in " ".join(capsys.readouterr().out.split())
    assert line.split(" (")[0] in Path("auto/report.md").read_text()
    rows = json.loads(Path("auto/summary.json").read_text())["rows"]
    assert {row["measure"] for row in rows} == {"answers"}

    assert cli([*command, "--model", model, "--out", "letters", "--measure", "letters"]) == 0
    (line,) = run_json("letters")["measured"]
    assert "as asked: what they show says little of its behavior" in line
    assert {row["measure"] for row in json.loads(Path("letters/summary.json").read_text())["rows"]} == {"letters"}

    # The same command goes on with what it was settled to.
    capsys.readouterr()
    assert cli([*command, "--model", model, "--out", "auto"]) == 0
    assert "measured by the answers' texts instead" in " ".join(capsys.readouterr().out.split())


def test_a_table_has_one_measure(tmp_path: Path, model: str) -> None:
    """pocket can be asked by letters; beside a model that can't, it isn't."""
    command = [
        "run",
        "--behavior",
        "refusal",
        "--methods",
        "caa",
        "--layer",
        "1",
        *("--test-items", "6", "--knowledge-items", "6"),
        "--data",
        "pocket",
    ]
    assert cli([*command, "--model", f"pocket,{model}", "--out", "both", "--knowledge", "none"]) == 0
    rows = json.loads(Path("both/summary.json").read_text())["rows"]
    assert {row["measure"] for row in rows} == {"answers"} and len({row["model"] for row in rows}) == 2
    first, second = run_json("both")["measured"]
    assert first.startswith("pocket can be asked") and "can't tell" in second
    assert first.endswith("measured by the answers' texts: the other models can't be asked so.")


def test_what_needs_letters_is_refused_once_the_model_is_known(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", str(make_place(tmp_path))]
    assert cli([*command, "--model", model, "--generated-choices", "--out", "out"]) == 2
    assert "--generated-choices asks for a letter" in capsys.readouterr().err
    assert not Path("out").exists()


def test_data_without_knowledge_take_the_packages(tmp_path: Path) -> None:
    place = make_place(tmp_path)

    def probe(spec: Specification) -> Plan:
        return make_plan(replace(spec, behaviors=("greeting",), data=place))

    other = probe(replace(SPEC, model=ModelSource(str(tmp_path)))).probe
    own = probe(SPEC).probe
    assert other is not None and own is not None
    assert (other.name, own.name) == ("english knowledge", "pocket facts")
    known = Library.open(Path("english")).knowledge("auto")
    assert known is not None and {item.question for item in other.items} < {item.question for item in known.items}


def test_a_broken_model_is_told_of_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettered, "_ASKED", {})  # of the model that isn't broken, which has its digest
    lm = load(ModelSource())
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.fill_(torch.nan)
    assert letter_check(lm, make_plan(SPEC), Store(tmp_path / "store")) is None


@pytest.mark.parametrize(
    ("check", "able", "words"),
    [
        (CHECK, False, "a-model can't tell lettered choices apart (facts: 0.25 [0.17, 0.35] of 88"),
        (replace(CHECK, letters=0.45, letters_ci=(0.35, 0.55)), False, "a-model knows more than it shows in letters"),
        (replace(CHECK, letters=0.7, letters_ci=(0.6, 0.79)), True, "a-model can be asked by letters"),
        (replace(CHECK, letters=0.45, letters_ci=(0.35, 0.55), texts=None), True, "can be asked by letters"),
        (replace(CHECK, model="smollm2"), False, "SmolLM2-135M-Instruct can't tell"),
    ],
)
def test_letters_are_taken_above_chance_and_not_below_the_texts(check: LetterCheck, able: bool, words: str) -> None:
    assert check.able is able
    assert words in check.finding
    plan = make_plan(SPEC)
    assert ("instead" in check.sentence(measuring(plan, "letters" if able else "answers"))) is not able
    asked_for = make_plan(replace(SPEC, measure="letters"))
    assert ("says little" in check.sentence(asked_for)) is not able
