"""What a training touches is what is said of it: counted by hand from the model's own tensors, family by family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from comparisons.cli import execute
from comparisons.engine.adapters import adapted
from comparisons.engine.choices import choice_logps
from comparisons.intervention import Intervention
from comparisons.machine.shape import count
from comparisons.method import Fit, TrainedAdapter, Use
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from methods.dpo import DPO
from methods.sft import SFT
from tests.families.known import tiny_model
from tests.places import make_place
from tests.test_adapters import facts
from tests.tiny import ATTENTION, SHAPE, SPECIAL, tiny_behavior, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = {"learning_rate": 1e-2, "epochs": 1, "epoch": 1, "batch_size": 8}
MANY = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}

EXPERTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "mixtral": (
        "MixtralConfig",
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        ["mlp.gate", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    ),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {**MANY, "num_experts": 4, "head_dim": 16},
        ["mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.gate"],
    ),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {**MANY, "num_experts": 4, "shared_expert_intermediate_size": 32},
        ["mlp.gate", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    ),
    "gpt_oss": (
        "GptOssConfig",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
        ["mlp.router", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    ),
    "granitemoe": (
        "GraniteMoeConfig",
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        ["block_sparse_moe.router", "block_sparse_moe.experts.gate_up_proj", "block_sparse_moe.experts.down_proj"],
    ),
    "llama4": (
        "Llama4TextConfig",
        {"num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 16, "intermediate_size_mlp": 64},
        ["feed_forward.experts.gate_up_proj", "feed_forward.experts.down_proj", "feed_forward.router"],
    ),
    "glm4_moe": (
        "Glm4MoeConfig",
        {**MANY, "n_routed_experts": 4, "head_dim": 16, "first_k_dense_replace": 1},
        # PEFT means the experts by what shared ones and the first block's MLP are called too.
        ["mlp.gate_proj", "mlp.experts.gate_up_proj", "mlp.gate", "mlp.shared_experts.gate_proj"],
    ),
}
"""Families of experts, and what of their blocks stays as it is."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_lm(kind: str, **sizes: Any) -> LM:
    tokenizer = tiny_tokenizer()
    config = getattr(transformers, kind)(**{"vocab_size": len(tokenizer), **SPECIAL, **sizes})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    return LM(model, tokenizer, kind)


def of_experts(family: str) -> tuple[LM, list[str]]:
    kind, sizes, untouched = EXPERTS[family]
    return random_lm(kind, **{**SHAPE, **ATTENTION, "num_hidden_layers": 2, **sizes}), untouched


def fitted(method: TrainedAdapter, lm: LM, folder: Path) -> Intervention:
    folder.mkdir()
    before = facts(lm)
    method.fit(Fit(lm, tiny_behavior(), {}, "pos", 0, Intervention(), folder))
    assert facts(lm) == before
    return method.intervene(Use(tiny_behavior(2), "pos", 1.0, folder))


def tensors(intervention: Intervention) -> dict[str, torch.Tensor]:
    assert intervention.adapter is not None
    return load_file(intervention.adapter / "adapter_model.safetensors")


def matrices(lm: LM) -> dict[str, Any]:
    """The linear modules of the blocks, but for routers, by hand."""
    return {
        f"{layer}.{name}": module
        for layer, block in enumerate(lm.blocks)
        for name, module in block.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and "router" not in name
    }


def p_match(lm: LM, *interventions: Intervention) -> list[float]:
    shown = [item.present("given") for item in tiny_behavior().train]
    logps = choice_logps(lm, shown, interventions).logps
    return [float(x) for x in (1 / (1 + np.exp(logps[..., 1] - logps[..., 0]))).mean(axis=1)]


@pytest.mark.parametrize(
    ("family", "config"),
    [("llama", {}), ("llama", {"tie_word_embeddings": True}), ("gemma2", {}), ("gpt2", {}), ("phi3", {})],
)
def test_every_number_that_is_trained_counts_once(family: str, config: dict[str, Any], tmp_path: Path) -> None:
    """Of LoRA its factors; of whole matrices their weights and not the identities beside them; embeddings never."""
    lm = tiny_lm(family, **config)
    lora, whole = fitted(SFT(**FAST), lm, tmp_path / "a"), fitted(SFT(**FAST, trainable="full"), lm, tmp_path / "b")
    assert lora.size() == sum(8 * sum(module.weight.shape) for module in matrices(lm).values())
    assert whole.size() == sum(module.weight.numel() for module in matrices(lm).values())
    assert whole.size() < sum(tensor.numel() for tensor in tensors(whole).values())
    one = fitted(SFT(**FAST, trainable="layer:1"), lm, tmp_path / "c")
    assert one.size() == whole.size() // 4
    assert lora.untouched == whole.untouched == one.untouched == []


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "phi3"])
def test_the_doctor_counts_what_is_trained(family: str, tmp_path: Path) -> None:
    """Of a configuration alone, for the memory that a training takes."""
    lm = tiny_lm(family)
    shape = count(lm.model.config.to_dict())
    lora, whole = fitted(SFT(**FAST), lm, tmp_path / "a"), fitted(SFT(**FAST, trainable="full"), lm, tmp_path / "b")
    assert lora.size() == shape.blocks * 8 * sum(inputs + outputs for inputs, outputs in shape.linears)
    assert whole.size() == shape.matrices


def test_what_has_no_gradient_does_not_count(tmp_path: Path) -> None:
    lm = tiny_lm()
    expected = fitted(SFT(**FAST), lm, tmp_path / "plain").size()
    lm.blocks[0].spare = torch.nn.Linear(64, 64)
    found = fitted(SFT(**FAST), lm, tmp_path / "spare")
    assert any("spare" in name for name in tensors(found))
    assert found.size() == expected


@pytest.mark.parametrize("family", EXPERTS)
def test_experts_are_named_as_left_alone(family: str, tmp_path: Path) -> None:
    lm, untouched = of_experts(family)
    lora, whole = fitted(SFT(**FAST), lm, tmp_path / "a"), fitted(SFT(**FAST, trainable="full"), lm, tmp_path / "b")
    for found in (lora, whole):
        assert set(untouched) <= set(found.untouched)
        touched = {name.split(".lora_")[0].partition(".layers.")[2] for name in tensors(found)}
        assert touched == {name for name in matrices(lm) if name.partition(".")[2] not in found.untouched}, (
            "what is not named is trained"
        )
    assert whole.size() == sum(
        m.weight.numel() for name, m in matrices(lm).items() if name.partition(".")[2] not in whole.untouched
    )


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt_oss", "glm4_moe"])
def test_experts_are_trained_where_they_are_named(family: str, tmp_path: Path) -> None:
    lm, _ = of_experts(family)
    experts = SFT(**{**FAST, "epochs": 4, "epoch": 4}, target_modules=("experts.gate_up_proj", "experts.down_proj"))
    found = fitted(experts, lm, tmp_path / "fit")
    assert {".experts." in name for name in tensors(found)} == {True}
    assert found.size() == sum(tensor.numel() for tensor in tensors(found).values())
    plain, moved = p_match(lm, Intervention(), found)
    assert moved > plain + 0.1


@pytest.mark.parametrize("family", ["granitemoe", "mixtral"])
def test_dpo_adds_no_loss_of_its_own_for_routers(family: str, tmp_path: Path) -> None:
    """With or without one in the configuration, the same adapter; some families fail with one."""
    found = []
    for coefficient in (0.0, 10.0):
        lm, _ = of_experts(family)
        lm.config.router_aux_loss_coef = coefficient
        found.append(tensors(fitted(DPO(**FAST), lm, tmp_path / str(coefficient))))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_dpo_trains_llama_4(tmp_path: Path) -> None:
    lm = LM(tiny_model("llama4_text"), tiny_tokenizer(), "llama4")
    plain, moved = p_match(lm, Intervention(), fitted(DPO(**FAST), lm, tmp_path / "dpo"))
    assert moved > plain + 0.05


def test_an_image_tower_is_left_alone(tmp_path: Path) -> None:
    text = {**SHAPE, **ATTENTION, "head_dim": 16, "vocab_size": len(tiny_tokenizer())}
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2}
    lm = random_lm(
        "Gemma3Config",
        text_config={**text, **SPECIAL, "sliding_window": 16},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    assert any("vision" in name for name, _ in lm.model.named_modules())
    for number, method in enumerate((SFT(**FAST), SFT(**FAST, target_modules=("q_proj", "v_proj")), DPO(**FAST))):
        found = fitted(method, lm, tmp_path / str(number))
        assert not any("vision" in name or "projector" in name for name in tensors(found))
        assert found.size() == sum(tensor.numel() for tensor in tensors(found).values())
        with adapted(lm, found.adapter), torch.no_grad():
            assert not any("lora" in name for name, _ in lm.model.model.vision_tower.named_parameters())


@pytest.mark.parametrize("kind", ["Mamba2Config", "FalconH1Config"])
def test_modules_that_kernels_read_themselves_are_left_out(kind: str, tmp_path: Path) -> None:
    mixer = {"Mamba2Config": ("num_heads", "head_dim", "state_size", "n_groups", "chunk_size")}.get(
        kind, ("mamba_n_heads", "mamba_d_head", "mamba_d_state", "mamba_n_groups", "mamba_chunk_size")
    )
    sizes: dict[str, Any] = dict(zip(mixer, (8, 16, 16, 1, 16), strict=True))
    sizes |= {"hidden_size": 64, "num_hidden_layers": 2} if kind == "Mamba2Config" else {**SHAPE, **ATTENTION}
    sizes |= {"mamba_d_ssm": 128} if kind == "FalconH1Config" else {}
    lm = random_lm(kind, **sizes)
    found = fitted(SFT(**FAST), lm, tmp_path / "fit")
    assert any(name.endswith("out_proj") for name in found.untouched)
    with pytest.raises(CompareError, match="no weight 'out_proj' in the blocks"):
        fitted(SFT(**FAST, target_modules=("in_proj", "out_proj")), lm, tmp_path / "named")


def test_an_end_that_no_weight_has_is_named(tmp_path: Path) -> None:
    known = "use down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    for wanted in (("query",), ("q_proj", "query"), ("proj",), ("q_proj", "all-linear")):
        with pytest.raises(CompareError, match=f"no weight '{wanted[-1]}' in the blocks of tiny-llama can .*{known}"):
            fitted(SFT(**FAST, target_modules=wanted), tiny_lm(), tmp_path / "-".join(wanted))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model of experts and data in a folder, and the options of a run of it."""
    place = make_place(tmp_path)
    lm, _ = of_experts("qwen3_moe")
    lm.model.save_pretrained(tmp_path / "model")
    lm.tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    given = ["--model", "model", "--data", str(place), "--behavior", "greeting", "--directions", "pos"]
    return ["run", *given, "--measure", "letters", "--set", "sft.epochs=1", "--set", "sft.learning_rate=0.001"]


def test_a_list_as_one_value_reaches_the_tensors(written: list[str]) -> None:
    settings = ["--set", "sft.target_modules=q_proj+v_proj,k_proj", "--set", "sft.rank=2"]
    assert execute([*written, "--methods", "sft", *settings, "--out", "out"]) == 0
    rows = json.loads(Path("out/summary.json").read_text())["rows"][1:]
    assert [row["settings"]["sft.target_modules"] for row in rows] == ["q_proj+v_proj", "k_proj"]
    # Of 2 blocks of width 64 with 2 of 4 key and value heads, at rank 2.
    assert [row["trainable_parameters"] for row in rows] == [2 * 2 * (64 + 64 + 64 + 32), 2 * 2 * (64 + 32)]
    assert not any("leaves weights" in warning for row in rows for warning in row["warnings"])


def test_the_report_names_what_stays_as_it_is(written: list[str]) -> None:
    assert execute([*written, "--methods", "sft,dpo", "--set", "dpo.epochs=1", "--set", "dpo.learning_rate=0.001"]) == 0
    (run,) = Path("reports").iterdir()
    rows = json.loads((run / "summary.json").read_text())["rows"][1:]
    said = "its adapter leaves weights of the blocks as they are: mlp.experts.gate_up_proj, mlp.experts.down_proj"
    assert all(any(said in warning for warning in row["warnings"]) for row in rows)
    assert said in " ".join((run / "report.md").read_text().split())
    assert [row["trainable_parameters"] for row in rows] == [2 * 8 * (128 + 96 + 96 + 128)] * 2
