"""Checkpoints of images and text, as a user has them: run, counted and refused by their text part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from comparisons.cli import execute
from comparisons.engine.choices import choice_logps
from comparisons.engine.generate import generate
from comparisons.evaluation.best import write_best
from comparisons.experiment.fitting import Built
from comparisons.intervention import Edit, Intervention
from comparisons.machine.shape import read_shape
from comparisons.model.loading import load, load_without_weights, model_without_weights
from comparisons.model.source import ModelSource
from comparisons.report.snippet import QUESTION, snippet
from comparisons.util.errors import CompareError
from tests.families.known import tiny_config, tiny_model
from tests.forks import Command, Forks
from tests.places import make_place
from tests.tiny import tiny_item, tiny_tokenizer


def saved(family: str, folder: Path) -> Path:
    """The folder of a tiny model with its image tower, and a tokenizer."""
    tiny_model(family).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, model = make_place(tmp_path), saved("qwen2_5_vl", tmp_path / "model")
    signs = {"signs": {"pos": ["yes"], "neg": ["no"]}}
    (place / "generate/greeting/behavior.json").write_text(json.dumps(signs))
    monkeypatch.chdir(tmp_path)
    fast = [f"{method}.{setting}" for method in ("sft", "dpo") for setting in ("epochs=1", "learning_rate=0.001")]
    given = ["--model", str(model), "--data", str(place), "--behavior", "greeting", "--layer", "1", "--out", "out"]
    methods = ["--methods", "caa,sft,dpo,sft+caa", "--directions", "pos", "--open-ended"]
    assert execute(["run", *given, *methods, *(word for each in fast for word in ("--set", each))]) == 0
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["done"] * 5
    # Of 4 blocks of width 64 with an MLP of 128 and 2 of 4 key and value heads, at rank 8: the text's.
    each = 8 * (2 * (64 + 64) + 2 * (64 + 32) + 2 * (64 + 128) + (128 + 64))
    assert [row["trainable_parameters"] for row in rows if row["method"] in ("sft", "dpo")] == [4 * each] * 2
    stored = list(Path("checkpoints").rglob("adapter_model.safetensors"))
    assert stored
    for path in stored:
        with safe_open(path, framework="numpy") as file:
            assert all(".language_model.layers." in name for name in file.keys())  # noqa: SIM118


def test_an_incomplete_tower_is_told_and_an_incomplete_text_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved("gemma3", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    tower, text = (next(n for n in weights if part in n and "mlp" in n) for part in ("vision", "language_model"))
    save_file({name: each for name, each in weights.items() if name != tower}, folder / "model.safetensors")
    load(ModelSource(str(folder)))
    assert "1 weight is missing, model.vision" in caplog.text and "what reads and writes text is there" in caplog.text
    save_file({name: each for name, each in weights.items() if name != text}, folder / "model.safetensors")
    with pytest.raises(CompareError, match="its files lack 1 of its"):
        load(ModelSource(str(folder)))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3", "llama4"])
def test_doctor_counts_what_is_loaded(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Llama 4's text has a class of its own; of Gemma 3 the image tower is loaded too."""
    folder = saved(family, tmp_path / "model")
    whole, text = tiny_model(family), load_without_weights(ModelSource(str(folder)))
    assert (text.parameters == whole.num_parameters()) == (family == "gemma3")
    assert execute(["doctor", "--model", str(folder)]) == 0
    assert f"{text.parameters:,} parameters" in capsys.readouterr().out


@pytest.mark.slow
def test_gemma_3n_is_read_without_its_towers(forks: Forks, tmp_path: Path) -> None:
    """Which need a package of their own; its checkpoints have no files of the text alone.

    The report's program reads it so too, and edits the copy of the stream that the engine does.
    """
    folder, text = tmp_path / "model", tiny_model("gemma3n_text")
    tiny_tokenizer().save_pretrained(folder)
    config = AutoConfig.for_model("gemma3n", text_config=text.config.to_dict())
    config.save_pretrained(folder)
    named = {
        name.replace("model.", "model.language_model.", 1): tensor.clone()
        for name, tensor in text.state_dict().items()
        if name != "lm_head.weight"  # the embeddings
    }
    save_file(
        {**named, "model.vision_tower.some.weight": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"}
    )
    lm, ids = load(ModelSource(str(folder))), torch.arange(9)[None]
    with torch.no_grad():
        assert torch.equal(lm.model(ids).logits, text(ids).logits)
    assert read_shape(ModelSource(str(folder))).parameters == lm.parameters == text.num_parameters()
    vector = torch.ones(lm.width)
    found = choice_logps(lm, [tiny_item(0).present("given")], [Intervention(), Intervention(edits=(Edit(1, vector),))])
    assert np.abs(found.logps[1] - found.logps[0]).max() > 1e-3
    intervention = Intervention(edits=(Edit(1, 3 * vector),))
    built = Built(intervention, 0.0)
    write_best(tmp_path, "caa", built, lm, str(folder))
    program = snippet(json.loads((tmp_path / "best/intervention.json").read_text()))
    assert program is not None
    (done,) = forks.run(Command((), str(tmp_path), program=program))
    (answers,) = generate(lm, [QUESTION], [intervention], 64, exact=True)
    assert done.printed == f"{answers[0]}\n", done.errors


def test_a_model_that_cant_write_on_from_text_is_refused_in_a_line(tmp_path: Path) -> None:
    from transformers import BertConfig, CLIPConfig, MusicgenConfig, T5Gemma2Config

    own = {"clip": CLIPConfig, "bert": BertConfig, "musicgen": MusicgenConfig, "t5gemma2": T5Gemma2Config}
    said = {
        "bert": r"reads texts in both directions \(is_decoder is false\), and writes none; take a decoder-only",
        "musicgen": "has more parts than one that read text; take a decoder-only language model",
        "t5gemma2": "a model of type t5gemma2 has an encoder",
        "t5": "can't load the model .* a model of type t5 has an encoder.* take a decoder-only language model",
        "mllama": r"a model of type mllama has blocks that run for images alone \(1\)",
        "clip": "a model of type clip is none that transformers has a class for that writes text",
    }
    for family, line in said.items():
        tiny_tokenizer().save_pretrained(tmp_path / family)
        config = own[family]() if family in own else tiny_config(family)
        config.save_pretrained(tmp_path / family)
        with pytest.raises(CompareError, match=line) as error:
            model_without_weights(ModelSource(str(tmp_path / family)))
        assert "\n" not in str(error.value)
