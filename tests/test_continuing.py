"""Answers of models that can't go on from a cache: old code of their own, recurrent states; against plain code."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from comparisons.cli import execute
from comparisons.engine.generate import generate
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from tests.own_code import CACHES, write_own_model
from tests.places import make_place
from tests.test_generate import QUESTIONS, TOKENS, plainly
from tests.tiny import ATTENTION, SPECIAL, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow

RECURRENT: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("MambaConfig", {"state_size": 16}),
    "mamba2": ("Mamba2Config", {"num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1, "chunk_size": 16}),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {"num_attention_heads": 4, "intermediate_size": 128, "lru_width": 64, "attention_window_size": 16},
    ),
    "lfm2": (
        "Lfm2Config",
        {**ATTENTION, "intermediate_size": 128, "layer_types": ["conv", "full_attention"] * 2},
    ),
}
"""Families whose state isn't keys and values alone."""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that comes with a model is copied to a folder of this test's."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def edits(width: int) -> list[Edit]:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(1)) * 3
    return [Edit(1, vector, positions=where) for where in ("prompt_end", "all", "last", "response_first:2")]


@pytest.mark.parametrize("cache", CACHES)
def test_code_that_asks_too_much_of_its_cache_answers_by_whole_texts(
    cache: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also under edits, where it equals the same model whose code knows today's caches."""
    folder = write_own_model(tmp_path / "model", cache)
    lm = load(ModelSource(str(folder), trust_remote_code=True))
    today = load(ModelSource(str(write_own_model(tmp_path / "today", "today")), trust_remote_code=True))
    interventions = [Intervention(), *(Intervention(edits=(edit,)) for edit in edits(lm.width))]
    with caplog.at_level(logging.WARNING):
        found = generate(lm, QUESTIONS, interventions, TOKENS)
    assert found[0] == [plainly(lm, question, None, None, -1) for question in QUESTIONS]
    assert found == generate(today, QUESTIONS, interventions, TOKENS)
    assert len({tuple(answers) for answers in found}) > 3
    assert today.continuing == "cache"
    said = [record.getMessage() for record in caplog.records if "whole text" in record.getMessage()]
    assert len(said) == (cache != "today"), said


@pytest.mark.parametrize("family", RECURRENT)
def test_a_recurrent_models_answers_are_its_own(family: str) -> None:
    kind, sizes = RECURRENT[family]
    tokenizer = tiny_tokenizer()
    shape = {"vocab_size": len(tokenizer), "hidden_size": 64, "num_hidden_layers": 4, **SPECIAL, **sizes}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**shape))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    lm = LM(model, tokenizer, family)
    expected = []
    for question in QUESTIONS:
        ids = torch.tensor([lm.tokenize(lm.prompt(question))])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
        expected.append(tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True).strip())
    assert generate(lm, QUESTIONS, [Intervention()], TOKENS) == [expected]


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "gpt2", "mixtral", "phi3"])
def test_a_model_that_goes_on_from_its_cache_does(family: str) -> None:
    lm = tiny_lm(family)
    generate(lm, QUESTIONS, [Intervention()], 2)
    assert lm.continuing == "cache"


def test_a_whole_run_of_a_model_with_old_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Trained, steered and asked freely, though its class can't generate and its code knows no cache of today."""
    place, model = make_place(tmp_path), write_own_model(tmp_path / "model", "legacy tuples")
    signs = {"signs": {"pos": ["yes"], "neg": ["no"]}}
    (place / "generate/greeting/behavior.json").write_text(json.dumps(signs))
    monkeypatch.chdir(tmp_path)
    settings = ["sft.epochs=1", "sft.learning_rate=0.001", "dpo.epochs=1", "dpo.learning_rate=0.001"]
    given = ["--model", str(model), "--data", str(place), "--behavior", "greeting", "--layer", "1", "--out", "out"]
    methods = ["--methods", "caa,sft,dpo+caa", "--directions", "pos", "--open-ended", "--trust-remote-code"]
    assert execute(["run", *given, *methods, *(word for each in settings for word in ("--set", each))]) == 0
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["done"] * 4
    assert "reads the whole text for each new token" in caplog.text


def test_what_a_generation_configuration_asks_for_and_answers_leave_out_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without it, greedy answers are `model.generate`'s; with it they are not, and one line says so."""
    lm = tiny_lm(seed=5)
    ids = torch.tensor([lm.tokenize(lm.prompt("Why?"))])

    def theirs() -> list[int]:
        return list(lm.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :])

    plain = theirs()
    for suppressed, same in (([], True), ([int(plain[0])], False)):
        lm.continuing, lm.model.generation_config.suppress_tokens = None, suppressed
        ((ours,),) = generate(lm, ["Why?"], [Intervention()], 12, exact=True)
        assert (ours == lm.tokenizer.decode(theirs())) == same
        said = [line for line in caplog.messages if "generation configuration" in line]
        left_out = f"suppress_tokens={suppressed}: free answers leave it out, and take the likeliest token."
        assert said == ([] if same else [f"the generation configuration of {lm.name} has {left_out}"])
