"""A model whose blocks accelerate keeps in main memory or on disk gives the numbers of the whole one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

from comparisons.engine.activations import contrast_activations
from comparisons.engine.choices import choice_logps
from comparisons.engine.completions import completion_logps
from comparisons.engine.generate import generate
from comparisons.engine.trial import packing
from comparisons.intervention import Edit, Intervention
from comparisons.method import Fit, Method, Use
from comparisons.model.fingerprint import tensor_digest
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.offload import offloaded
from comparisons.model.source import ModelSource
from methods.dpo import DPO
from methods.learned_vector import LearnedVector
from methods.prompt_tuning import PromptTuning
from methods.sft import SFT
from tests.places import complaint
from tests.test_families import COMPLETIONS, asked, every_edit, random_vector
from tests.tiny import tiny_behavior, tiny_item, tiny_lm

pytestmark = pytest.mark.slow

KINDS = ("parts", "cpu", "disk", "loaded")


def away(whole: LM, kind: str, folder: Path) -> LM:
    """The same model, offloaded."""
    model: Any = copy.deepcopy(whole.model)
    if kind == "parts":
        model = dispatch_model(model, _places(), main_device="cpu", offload_dir=str(folder), force_hooks=True)
    elif kind == "loaded":
        model.save_pretrained(folder)
        model = type(model).from_pretrained(folder, device_map=_places(), offload_folder=str(folder / "away"))
    elif kind == "cpu":
        cpu_offload(model, torch.device("cpu"))
    else:
        disk_offload(model, str(folder), torch.device("cpu"))
    return LM(model, whole.tokenizer, whole.name)


def _places() -> dict[str, str]:
    """A device map that has blocks 1 and 3 on disk."""
    named = {"model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"} | {
        f"model.layers.{i}" for i in range(4)
    }
    return {name: "disk" if name in ("model.layers.1", "model.layers.3") else "cpu" for name in named}


@pytest.fixture(scope="module")
def whole() -> LM:
    return tiny_lm()


@pytest.fixture(scope="module", params=KINDS)
def lm(request: pytest.FixtureRequest, whole: LM, tmp_path_factory: pytest.TempPathFactory) -> LM:
    return away(whole, request.param, tmp_path_factory.mktemp("away"))


@pytest.fixture(scope="module")
def adapter(whole: LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes the answers."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = copy.deepcopy(whole.model)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def test_it_is_offloaded_and_read_as_the_whole_one(lm: LM, whole: LM) -> None:
    assert offloaded(lm.model)
    assert lm.device == torch.device("cpu")
    assert tensor_digest(lm.model) == tensor_digest(whole.model)
    assert lm.digest == whole.digest
    assert packing(lm) == packing(whole)


def test_every_path_of_the_engine_gives_the_same_numbers(lm: LM, whole: LM, adapter: Path) -> None:
    mark = lm.mark()
    edits = [Intervention(edits=each) for each in every_edit(whole)]
    steered = Intervention(adapter=adapter, adapter_scale=0.5, edits=(Edit(2, random_vector(whole, 1)),))
    some = [edits[0], edits[3], steered]

    def numbers(subject: LM) -> dict[str, Any]:
        pairs = [tiny_item(i) for i in range(6)]
        activations = [values.numpy() for _, values in contrast_activations(subject, pairs, below=steered)]
        completions = completion_logps(subject, ["Why?", "Is it so?"], [COMPLETIONS] * 2, some)
        return {
            "choices": choice_logps(subject, asked(3), [*edits, steered]).logps,
            "activations": np.concatenate(activations),
            "completions": np.array([v for member in completions for q in member for c in q for v in c]),
            "answers": generate(subject, ["Why?", "Is that so?"], some, 6),
        }

    found, expected = numbers(lm), numbers(whole)
    for name in ("choices", "activations", "completions"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)
    assert found["answers"] == expected["answers"]
    assert lm.mark() == mark
    assert lm.is_clean()


def fitted(lm: LM, method: Method, out: Path) -> np.ndarray:
    """The numbers of a method's intervention, fitted on the model itself."""
    out.mkdir()
    behavior = tiny_behavior(4)
    method.fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), out))
    use = Use(behavior, "pos", 1.0, out)
    return choice_logps(lm, asked(2), [method.intervene(use)]).logps


@pytest.mark.parametrize(
    "method",
    [
        SFT(learning_rate=1e-2, epochs=1, epoch=1, batch_size=2),
        SFT(learning_rate=1e-3, epochs=1, epoch=1, batch_size=2, trainable="layer:1"),
        DPO(learning_rate=1e-2, epochs=1, epoch=1, batch_size=2),
        LearnedVector(layer=1, epochs=1, batch_size=2),
        PromptTuning(epochs=1, batch_size=2),
    ],
    ids=["lora", "matrices", "dpo", "vector", "prompt"],
)
def test_trainings_come_to_the_same(whole: LM, method: Method, tmp_path: Path) -> None:
    lm = away(whole, "parts", tmp_path / "away")
    mark = lm.mark()
    np.testing.assert_allclose(
        fitted(lm, method, tmp_path / "lm"), fitted(whole, method, tmp_path / "whole"), atol=1e-5
    )
    assert lm.mark() == mark


def test_where_to_keep_blocks_is_for_a_gpu(whole: LM, tmp_path: Path) -> None:
    whole.model.save_pretrained(tmp_path)
    whole.tokenizer.save_pretrained(tmp_path)
    source = ModelSource(str(tmp_path), device="cpu", offload=tmp_path / "away")
    assert "files are read as needed" in complaint(lambda: load(source))


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_what_is_away_shows_in_the_mark(whole: LM, kind: str, tmp_path: Path) -> None:
    lm = away(whole, kind, tmp_path)
    assert lm.is_clean()
    kept = offloaded(lm.model)["model.layers.1.mlp.up_proj.weight"]
    file = kept.file()
    assert (file is None) == (kind == "cpu")
    if file is None:
        kept.read().add_(1.0)
    else:
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    assert not lm.is_clean()
