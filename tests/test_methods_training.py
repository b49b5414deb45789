"""Methods that train adapters: preferences, whole matrices, one block; what they change and what they leave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from comparisons.engine.adapters import adapted
from comparisons.engine.choices import choice_logps
from comparisons.intervention import Intervention
from comparisons.method import Direction, Fit, TrainedAdapter, Use, check_method, questions
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from methods.dpo import DPO
from methods.sft import SFT, WHOLE_LEARNING_RATES
from tests.test_adapters import facts
from tests.tiny import tiny_behavior, tiny_lm

pytestmark = pytest.mark.slow

FAST = {"learning_rate": 1e-2, "epochs": 1, "epoch": 1, "batch_size": 8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fitted(method: TrainedAdapter, lm: LM, out: Path, direction: Direction = "pos") -> Intervention:
    out.mkdir()
    method.fit(Fit(lm, tiny_behavior(), {}, direction, 0, Intervention(), out))
    return method.intervene(Use(tiny_behavior(), direction, 1.0, out))


def test_dpo_passes_the_conformance_suite() -> None:
    check_method(DPO)


@pytest.mark.parametrize("direction", ["pos", "neg"])
def test_dpo_raises_the_margin_of_the_preferred_answer(direction: Direction, tmp_path: Path) -> None:
    lm = tiny_lm()
    before, tokenizer = facts(lm), lm.tokenizer.special_tokens_map
    trained = fitted(DPO(**{**FAST, "learning_rate": 3e-3}), lm, tmp_path / "fit", direction)  # type: ignore[arg-type]
    assert facts(lm) == before and lm.tokenizer.special_tokens_map == tokenizer
    shown = [item.present("given") for item in tiny_behavior().train]
    logps = choice_logps(lm, shown, [Intervention(), trained]).logps
    plain, moved = (logps[..., 0] - logps[..., 1]).mean(axis=1) * (1 if direction == "pos" else -1)
    assert moved > plain + 0.5


@pytest.mark.parametrize("target", ["letter", "answer"])
def test_dpo_trains_as_plain_torch(target: Literal["letter", "answer"], tmp_path: Path) -> None:
    """The oracle: equation 7 on whole texts, each prompt with each answer by itself, with a second, untrained model."""
    lm, plain = tiny_lm(), tiny_lm()
    method = DPO(**{**FAST, "learning_rate": 1e-3, "epochs": 2, "epoch": 2, "batch_size": 16}, target=target)  # type: ignore[arg-type]
    adapter = fitted(method, lm, tmp_path / "fit").adapter
    assert adapter is not None
    found = load_file(adapter / "adapter_model.safetensors")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(lm.model, config).train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.0)

    def logp(of: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
        logits = of(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None]).sum()  # type: ignore[no-any-return]

    asked = questions(Fit(lm, tiny_behavior(), {}, "pos", 0, Intervention(), tmp_path), target=target)
    for _ in range(2):
        losses = []
        for prompt, wanted, other in zip(asked.prompts, asked.targets, asked.others, strict=True):
            with torch.no_grad():
                before = logp(plain.model, prompt, wanted) - logp(plain.model, prompt, other)
            margin = logp(model, prompt, wanted) - logp(model, prompt, other)
            losses.append((1 + (-0.1 * (margin - before)).exp()).log())
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert len(found) == len(trained)
    for name, parameter in trained.items():
        assert torch.allclose(found[name.replace(".default", "")], parameter, atol=2e-5), name


def test_beta_holds_dpo_back_and_the_epochs_are_chosen() -> None:
    assert [c.learning_rate for c in DPO(epoch=1).candidates(4)] == [1e-4, 3e-4, 1e-3]
    assert DPO(beta=0.5).fit_settings() != DPO().fit_settings()


@pytest.mark.parametrize(("family", "trainable"), [("llama", "full"), ("gpt2", "full"), ("llama", "layer:2")])
def test_whole_matrices_are_trained_as_plain_torch_trains_them(family: str, trainable: str, tmp_path: Path) -> None:
    """The oracle: AdamW on the model's own weights, on a copy of the model, one whole prompt at a time."""
    lm, copy = (tiny_lm(family, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0) for _ in range(2))
    before = facts(lm)
    method = SFT(trainable=trainable, learning_rate=1e-3, epochs=1, epoch=1, batch_size=16)
    trained = fitted(method, lm, tmp_path / "fit")
    assert facts(lm) == before

    chosen = copy.blocks if trainable == "full" else [copy.blocks[2]]
    weights = [p for block in chosen for p in block.parameters() if p.dim() == 2]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.0)
    losses = []
    for item in tiny_behavior().train:
        prompt = copy.choice_prompt(item.question, (item.matching, item.contrast))
        logits = copy.model(torch.tensor([prompt.ids])).logits[0, -1]
        losses.append(logits.logsumexp(-1) - logits[prompt.targets[0]])
    torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()

    ids = torch.tensor([lm.choice_prompt(tiny_behavior().test[0].question, ("A", "B")).ids])
    with torch.no_grad():
        plain, expected = lm.model(ids).logits, copy.model(ids).logits
        with adapted(lm, trained.adapter):
            found = lm.model(ids).logits
    assert (expected - plain).abs().max() > 0.05
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)
    assert facts(lm) == before


def test_half_the_strength_is_half_the_difference_of_the_weights(tmp_path: Path) -> None:
    lm = tiny_lm()
    trained = fitted(SFT(trainable="layer:1", **FAST), lm, tmp_path / "fit")  # type: ignore[arg-type]
    shown = [item.present("given") for item in tiny_behavior().train]
    doses = [replace(trained, adapter_scale=scale) for scale in (0.0, 0.5, 1.0)]
    plain, *found = choice_logps(lm, shown, [Intervention(), *doses]).logps
    assert (found[0] == plain).all()
    assert abs(found[1] - plain).max() > 1e-3 and abs(found[2] - found[1]).max() > 1e-3


def test_what_is_trained_is_checked(tmp_path: Path) -> None:
    lm = tiny_lm()
    assert {c.learning_rate for c in SFT(trainable="full").candidates(4)} == set(WHOLE_LEARNING_RATES)
    with pytest.raises(CompareError, match="use lora, full or layer:N"):
        fitted(SFT(trainable="all", **FAST), lm, tmp_path / "a")  # type: ignore[arg-type]
    with pytest.raises(CompareError, match="layer 9 is out of range"):
        fitted(SFT(trainable="layer:9", **FAST), lm, tmp_path / "b")  # type: ignore[arg-type]


def test_an_adapter_of_another_model_is_taken_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = fitted(SFT(**FAST), tiny_lm(), tmp_path / "fit").adapter  # type: ignore[arg-type]
    assert trained is not None
    taken = SFT(adapter_from=str(trained))
    fitted(taken, tiny_lm(), tmp_path / "own")
    assert not caplog.messages
    config = json.loads((trained / "adapter_config.json").read_text())
    (trained / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "org/Other-1B"}))
    assert fitted(taken, tiny_lm(), tmp_path / "other").adapter == tmp_path / "other"
    assert caplog.messages == [f"the adapter in {trained} was made on org/Other-1B and is used on tiny-llama."]
