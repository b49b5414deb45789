"""Adapters are put on in place and leave nothing behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from comparisons.engine.adapters import adapted, preserved
from comparisons.model.fingerprint import tensor_digest
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests.tiny import FAMILIES, tiny_lm

IDS = torch.tensor([[3, 40, 41, 42, 43, 44]])
WEIGHTS = "adapter_model.safetensors"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS, attention_mask=torch.ones_like(IDS)).logits  # type: ignore[no-any-return]


def lora(**fields: Any) -> LoraConfig:
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    return LoraConfig(**{**settings, "task_type": "CAUSAL_LM", **fields})


def write_adapter(folder: Path, config: PeftConfig, family: str = "llama", **shape: Any) -> Path:
    """A random adapter for a tiny model, written by PEFT."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = get_peft_model(tiny_lm(family, **shape).model, config)
        for name, parameter in model.named_parameters():
            if "ia3" in name:
                parameter.data = torch.rand_like(parameter)
        model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def facts(lm: LM) -> tuple[object, ...]:
    """Everything that must be as before: objects, classes, order, flags, hooks, attributes, bits."""
    modules = [
        (name, id(m), type(m), m.training, sorted(vars(m)), list(m._forward_hooks), list(m._forward_pre_hooks))
        for name, m in lm.model.named_modules()
    ]
    parameters = [(n, id(p), p.data_ptr(), p.requires_grad, p.grad) for n, p in lm.model.named_parameters()]
    return (modules, parameters, tensor_digest(lm.model), lm.model.config.to_json_string())


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_peft_and_restores_the_model(family: str, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", lora(), family)
    oracle = logits(PeftModel.from_pretrained(tiny_lm(family).model, str(folder)))
    lm = tiny_lm(family)
    before, plain, random_state = facts(lm), logits(lm.model), torch.get_rng_state()
    for again in (False, True):
        with adapted(lm, folder, 1.0):
            inside = logits(lm.model)
            assert list(lm.model.get_submodule(lm.blocks_path)) == lm.blocks
        assert torch.equal(inside, oracle)
        assert not torch.allclose(inside, plain, atol=1e-3)
        assert facts(lm) == before
        assert torch.equal(logits(lm.model), plain)
        if not again:
            with adapted(lm, folder, 0.5):
                assert not torch.equal(logits(lm.model), oracle)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_restores_the_model_after_an_exception(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    before, mark = facts(lm), lm.mark()
    with pytest.raises(ZeroDivisionError), adapted(lm, folder, 0.5):
        logits(lm.model)
        raise ZeroDivisionError
    assert facts(lm) == before
    assert lm.mark() == mark


def test_keeps_hooks_that_were_there(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    calls: list[str] = []
    handle = lm.blocks[0].register_forward_hook(lambda *_: calls.append("hook"))
    with adapted(lm, folder, 1.0):
        logits(lm.model)
    logits(lm.model)
    handle.remove()
    logits(lm.model)
    assert calls == ["hook", "hook"]


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}])
def test_a_scale_multiplies_the_b_matrix(settings: dict[str, Any], tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora(**settings)), tiny_lm()
    weights = load_file(folder / WEIGHTS)
    save_file({k: v * 0.5 if "lora_B" in k else v for k, v in weights.items()}, tmp_path / "half.safetensors")
    with adapted(lm, folder, 0.5):
        scaled = logits(lm.model)
    (tmp_path / "half.safetensors").rename(folder / WEIGHTS)
    with adapted(lm, folder, 1.0):
        halved = logits(lm.model)
    assert torch.allclose(scaled, halved, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_nothing_changes_without_an_adapter_or_at_scale_0(scale: float, tmp_path: Path) -> None:
    lm = tiny_lm()
    plain = logits(lm.model)
    folder = None if scale else write_adapter(tmp_path / "adapter", lora())
    with adapted(lm, folder, scale):
        assert torch.equal(logits(lm.model), plain)


def test_dropout_is_off(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora(lora_dropout=0.9)), tiny_lm()
    with adapted(lm, folder, 1.0):
        assert torch.equal(logits(lm.model), logits(lm.model))


def test_half_precision_adapters_are_widened_as_peft_does(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    save_file({k: v.bfloat16() for k, v in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    oracle = logits(PeftModel.from_pretrained(tiny_lm().model, str(folder)))
    with adapted(lm, folder, 1.0):
        assert torch.equal(logits(lm.model), oracle)


@pytest.mark.parametrize(
    "fields", [{"init_lora_weights": "pissa"}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"use_dora": True}]
)
def test_adapters_that_touch_the_weights_are_undone(fields: dict[str, Any], tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", lora(**fields), "qwen2")
    lm = tiny_lm("qwen2")
    before = facts(lm)
    with adapted(lm, folder, 1.0):
        logits(lm.model)
    assert facts(lm) == before


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (IA3Config(task_type="CAUSAL_LM"), "IA3"),
        (lora(use_dora=True), "use_dora"),
        (lora(modules_to_save=["lm_head"]), "modules_to_save"),
    ],
)
def test_what_has_no_scale_takes_none_but_1(config: PeftConfig, part: str, tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", config), tiny_lm()
    before, plain = facts(lm), logits(lm.model)
    with adapted(lm, folder, 1.0):
        assert not torch.equal(logits(lm.model), plain)
    with pytest.raises(CompareError, match=part), adapted(lm, folder, 0.5):
        pass
    assert facts(lm) == before


def remove_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def remove_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def truncate_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])


def break_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def rename_type(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "TELEPATHY"}))


def drop_a_tensor(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(dict(list(weights.items())[1:]), folder / WEIGHTS)


@pytest.mark.parametrize(
    "damage", [remove_config, remove_weights, truncate_weights, break_config, rename_type, drop_a_tensor]
)
def test_a_damaged_folder_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    damage(folder)
    before = facts(lm)
    with pytest.raises(CompareError, match=r"adapter' |adapter':") as caught, adapted(lm, folder, 1.0):
        pass
    assert "\n" not in str(caught.value)
    assert facts(lm) == before


@pytest.mark.parametrize("shape", [{"hidden_size": 128}, {"num_hidden_layers": 6}, {"num_hidden_layers": 2}])
def test_an_adapter_of_another_model_is_refused(shape: dict[str, Any], tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora(target_modules=["q_proj"]), **shape), tiny_lm()
    before = facts(lm)
    with pytest.raises(CompareError, match="does not fit tiny-llama"), adapted(lm, folder, 1.0):
        pass
    assert facts(lm) == before


def test_an_adapter_of_another_family_is_refused(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora(), "gpt2"), tiny_lm()
    with pytest.raises(CompareError, match="does not fit tiny-llama"), adapted(lm, folder, 1.0):
        pass


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="nowhere"), adapted(tiny_lm(), tmp_path / "nowhere", 1.0):
        pass


def test_prompt_tuning_is_refused(tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    folder = write_adapter(tmp_path / "adapter", config)
    with pytest.raises(CompareError, match="PROMPT_TUNING"), adapted(tiny_lm(), folder, 1.0):
        pass


def test_an_adapter_that_repeats_blocks_is_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", lora(layer_replication=[[0, 4], [2, 4]]))
    with (
        pytest.raises(CompareError, match=r"repeats blocks .* merge it into a model's files"),
        adapted(tiny_lm(), folder),
    ):
        pass


def test_a_second_adapter_is_refused(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    before = facts(lm)
    with (
        pytest.raises(CompareError, match="already carries an adapter"),
        adapted(lm, folder, 1.0),
        adapted(lm, folder, 1.0),
    ):
        pass
    assert facts(lm) == before


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_must_be_finite(scale: float, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="finite"), adapted(tiny_lm(), tmp_path, scale):
        pass


def test_preserved_undoes_what_trainers_do() -> None:
    lm = tiny_lm()
    before = facts(lm)
    model = lm.model
    with preserved(model):
        model.train()
        model.requires_grad_(False)
        model.forward = lambda *_: None
        model.config.use_cache = False
        model.config.invented = 1
        model.generation_config.pad_token_id = 7
        model.get_input_embeddings().register_forward_hook(lambda *_: None)
        model.lm_head = torch.nn.Linear(64, 3)
        for parameter in model.model.norm.parameters():
            parameter.data = parameter.data.double()
            parameter.grad = torch.zeros_like(parameter)
    assert facts(lm) == before
    assert model.generation_config.pad_token_id is None


def test_the_folder_is_only_read(tmp_path: Path) -> None:
    folder, lm = write_adapter(tmp_path / "adapter", lora()), tiny_lm()
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    with adapted(lm, folder, 0.5):
        pass
    assert digests == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
