"""What only a real model can show, on SmolLM2-135M-Instruct: it is loaded, steered, trained and asked as by plain code.

`make smollm2` installs it, as `.ci/run` does; elsewhere these tests skip.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Behavior, Library
from comparisons.engine.activations import contrast_means
from comparisons.engine.choices import choice_logps
from comparisons.engine.divergence import own_answers, token_kl
from comparisons.engine.generate import generate
from comparisons.evaluation.questions import questions, result_rows
from comparisons.intervention import Edit, Intervention
from comparisons.model.copies import parsed_once
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.named import NAMED
from comparisons.model.source import ModelSource
from tests import oracle
from tests.forks import Command, Forks
from tests.places import few_questions

KNOWN = NAMED["smollm2"]
ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec(KNOWN.module) is None, reason=f"{KNOWN.package} isn't installed: make smollm2"),
]

LAYERS = (0, 14, 29)
MULTIPLIERS = (-2.0, 0.0, 1.5)
RUN = (
    *("run", "--model", "smollm2", "--behavior", "formality", "--methods", "caa,sft,sysprompt,sft+caa"),
    *("--data", "few", "--train-items", "8", "--test-items", "8", "--knowledge-items", "2", "--layer", "18"),
    *("--set", "sft.learning_rate=4e-3", "--set", "sft.epochs=2", "--set", "sft.epoch=2"),
)


@dataclass(frozen=True)
class Plain:
    """The model as transformers alone loads it."""

    model: Any
    tokenizer: Any

    def prompt(self, question: str, system: str | None = None) -> str:
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": question})
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def answer(self, question: str, text: str, edits: tuple[Edit, ...] = (), system: str | None = None) -> list[float]:
        """Log-probabilities of an answer's tokens, one pass."""
        prompt = self.prompt(question, system)
        alone, ids = self.tokens(prompt), self.tokens(prompt + text)
        logps = oracle.edited(self.model, self.model.model.layers, ids, len(alone) - 1, edits)
        return [logps[place - 1, ids[place]].item() for place in range(len(alone), len(ids))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is kept, so that the file is parsed once."""
    folder, before = tmp_path_factory.mktemp("real"), Path.cwd()
    os.chdir(folder)
    with parsed_once():
        yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def lm(place: Path) -> LM:
    return load(ModelSource("smollm2"))


@pytest.fixture(scope="module")
def plain(place: Path) -> Plain:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = KNOWN.path()
    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return Plain(model.eval(), AutoTokenizer.from_pretrained(**where))


@pytest.fixture(scope="module")
def behavior() -> Behavior:
    return Library.open(ROOT / "data" / "english").behavior("formality")


@pytest.fixture(scope="module")
def vectors(lm: LM, behavior: Behavior) -> torch.Tensor:
    """Formality as a few pairs show it, [layers, width]."""
    return contrast_means(lm, behavior.train[:6], read="answer").matching.float()


def test_it_is_what_transformers_loads(lm: LM, plain: Plain) -> None:
    expected = plain.model.state_dict()
    assert dict.fromkeys(expected, True) == {
        name: torch.equal(tensor, expected[name]) for name, tensor in lm.model.state_dict().items()
    }
    text = lm.prompt("Why is the sky blue?", "Be brief.")
    assert text == plain.prompt("Why is the sky blue?", "Be brief.")
    assert lm.tokenize(text) == plain.tokens(text)


def test_every_path_gives_what_plain_code_gives(
    lm: LM, plain: Plain, behavior: Behavior, vectors: torch.Tensor
) -> None:
    system = behavior.system_prompt("pos")
    grid = [Edit(layer, vectors[layer], multiplier=m) for layer in LAYERS for m in MULTIPLIERS]
    everywhere = Edit(14, vectors[14], multiplier=1.5, positions="all")
    given = [
        Intervention(),
        Intervention(system=system),
        Intervention(edits=(everywhere,)),
        Intervention(system=system, edits=(grid[-1], grid[2])),
        *(Intervention(edits=(edit,)) for edit in grid),
    ]
    asked = questions(behavior.test[:2], ("answers",))
    found = choice_logps(lm, [question.shown for question in asked], given)
    still = [index for index, one in enumerate(given) if len(one.edits) == 1 and one.edits[0].multiplier == 0]
    assert len(still) == len(LAYERS)
    for index in still:
        np.testing.assert_array_equal(found.logps[index], found.logps[0])
    for index, intervention in enumerate(given):
        if index in still:  # whose numbers are the baseline's
            continue
        for row, item in zip(result_rows(asked, found, index, "choices", {"cell": "x"}), behavior.test, strict=False):
            sums = [
                plain.answer(item.stem, text, tuple(intervention.edits), intervention.system) for text in item.texts
            ]
            counts = [len(each) for each in sums]
            assert [row["tokens_matching"], row["tokens_contrast"]] == counts
            for name, each in zip(("logp_matching", "logp_contrast"), sums, strict=True):
                assert row[name] == pytest.approx(sum(each), abs=1e-4 * len(each))
            z = np.mean(sums[0]) - np.mean(sums[1])
            assert row["p_match"] == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-5)


def test_its_kl_is_what_plain_code_gives(lm: LM, plain: Plain, vectors: torch.Tensor) -> None:
    questions = ("What is the capital of Australia?", "Why do cats purr?")
    answers = own_answers(lm, questions, 12)
    edits = [(Edit(layer, vectors[layer], multiplier=m),) for layer in (9, 18) for m in (-1.0, 1.5)]
    found = token_kl(lm, answers, [Intervention(edits=each) for each in edits])
    for row, question in enumerate(questions):
        prompt, ids = plain.tokens(plain.prompt(question)), answers.tokens[row]
        before, *changed = (
            oracle.edited(plain.model, plain.model.model.layers, [*prompt, *ids], len(prompt) - 1, changes)
            .double()
            .log_softmax(-1)[len(prompt) - 1 :][: answers.places[row]]
            for changes in ((), *edits)
        )
        for after, own in zip(changed, found, strict=True):
            values = own[row]
            assert values == pytest.approx((before.exp() * (before - after)).sum(-1).tolist(), rel=1e-5, abs=1e-5)


def test_it_answers_as_transformers_generates(lm: LM, plain: Plain) -> None:
    asked = ["How do I boil an egg?", "Write one sentence about the sea.", "What is the capital of France?"]
    (answers,) = generate(lm, asked, [Intervention()], 24)
    for question, answer in zip(asked, answers, strict=True):
        ids = torch.tensor([plain.tokens(plain.prompt(question))])
        made = plain.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24, pad_token_id=2
        )
        assert answer == plain.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()


def numbers(run: Path) -> list[dict[str, Any]]:
    """The summary without what a clock or a meter says."""
    rows: list[dict[str, Any]] = json.loads((run / "summary.json").read_text())["rows"]
    measured = ("eval_seconds", "fit_seconds", "peak_memory_bytes", "tokens_run")
    return [{name: value for name, value in row.items() if name not in measured} for row in rows]


@pytest.fixture(scope="module")
def killed(lm: LM, place: Path, forks: Forks) -> int:
    """How many cells the run in `killed` had when it was killed; then it went on, and `whole` ran in one piece."""
    few_questions(place / "few", "english")
    again, whole = (Command((*RUN, "--out", out), str(place), every=30.0) for out in ("killed", "whole"))
    cells = place / "killed" / "cells"
    (pid,) = forks.start(again)
    while not list(cells.glob("*.jsonl")) and Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    (ended,) = forks.ended()
    assert ended.code == -signal.SIGKILL, ended.said
    done = len(list(cells.glob("*.jsonl")))
    assert not (place / "killed" / "summary.json").exists()
    for command in (again, whole):
        (ended,) = forks.run(command)
        assert ended.code == 0, ended.said
    return done


def test_a_killed_run_ends_with_the_numbers_of_a_whole_one(killed: int, place: Path) -> None:
    rows = numbers(place / "killed")
    assert 0 < killed < len(rows) == 9
    for ours, theirs in zip(rows, numbers(place / "whole"), strict=True):
        assert (ours["cell"], ours["status"]) == (theirs["cell"], "done")
        assert ours["p_match"] == pytest.approx(theirs["p_match"], abs=1e-6)
        assert ours["knowledge"] == theirs["knowledge"]


def test_the_main_job_moves_it(killed: int, place: Path) -> None:
    for row in numbers(place / "killed")[1:]:
        sign = 1 if row["direction"] == "pos" else -1
        assert sign * row["shift"] > 0, row["cell"]
        if row["method"] != "sysprompt":
            assert sign * row["shift_ci"][0 if sign > 0 else 1] > 0, row["cell"]


def test_an_adapter_is_what_peft_makes_of_it(
    killed: int, place: Path, lm: LM, plain: Plain, behavior: Behavior, vectors: torch.Tensor
) -> None:
    from peft import PeftModel

    (item,) = behavior.test[:1]
    edit = Edit(18, vectors[18], multiplier=1.5)
    adapter = next((place / "checkpoints").glob("sft-*/epoch-2"))
    given = [Intervention(adapter=adapter), Intervention(adapter=adapter, edits=(edit,))]
    found = choice_logps(lm, [question.shown for question in questions([item], ("answers",))], given)
    wrapped = PeftModel.from_pretrained(plain.model, adapter)
    try:
        for index, intervention in enumerate(given):
            (row,) = result_rows(questions([item], ("answers",)), found, index, "choices", {"cell": "x"})
            for name, text in zip(("logp_matching", "logp_contrast"), item.texts, strict=True):
                tokens = plain.answer(item.stem, text, tuple(intervention.edits))
                assert row[name] == pytest.approx(sum(tokens), abs=1e-4 * len(tokens))
    finally:
        wrapped.unload()
