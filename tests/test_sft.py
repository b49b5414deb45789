"""sft trains on the deciding letter alone, does what it says, and leaves no trace on the model or the process."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from comparisons.dataset.behaviors import Behavior
from comparisons.engine.adapters import adapted
from comparisons.engine.choices import choice_logps
from comparisons.intervention import Intervention
from comparisons.method import Direction, Fit, Use, _gradient, _trainer, questions
from comparisons.method.training import LEARNING_RATES
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from methods.sft import SFT
from tests.test_adapters import facts
from tests.tiny import FAMILIES, tiny_behavior, tiny_lm

pytestmark = pytest.mark.slow

FAST = SFT(learning_rate=1e-2, epochs=2, epoch=2, batch_size=8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fit(method: SFT, lm: LM, behavior: Behavior, out: Path, direction: Direction = "pos", seed: int = 0) -> Path:
    out.mkdir()
    method.fit(Fit(lm, behavior, {}, direction, seed, Intervention(), out))
    return out


def intervention(method: SFT, fitted: Path, strength: float = 1.0, direction: Direction = "pos") -> Intervention:
    return method.intervene(Use(tiny_behavior(2), direction, strength, fitted))


def p_match(lm: LM, behavior: Behavior, *interventions: Intervention) -> list[float]:
    """Mean p(matching) over the training pairs under each intervention."""
    shown = [item.present("given") for item in behavior.train]
    logps = choice_logps(lm, shown, interventions).logps
    return [float(x) for x in (1 / (1 + np.exp(logps[..., 1] - logps[..., 0]))).mean(axis=1)]


def weights(fitted: Path, epoch: int) -> dict[str, torch.Tensor]:
    return load_file(fitted / f"epoch-{epoch}" / "adapter_model.safetensors")


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_each_direction_moves_its_way_on_the_training_pairs(tmp_path: Path) -> None:
    lm, behavior, method = tiny_lm(), tiny_behavior(32), replace(FAST, epochs=3, epoch=3)
    up = intervention(method, fit(method, lm, behavior, tmp_path / "pos", "pos"))
    down = intervention(method, fit(method, lm, behavior, tmp_path / "neg", "neg"), direction="neg")
    baseline, raised, lowered = p_match(lm, behavior, Intervention(), up, down)
    assert raised > baseline + 0.2
    assert lowered < baseline - 0.2


def test_strength_scales_the_adapter(tmp_path: Path) -> None:
    lm, behavior = tiny_lm(), tiny_behavior(16)
    fitted = fit(FAST, lm, behavior, tmp_path / "fit")
    zero, half, full = (intervention(FAST, fitted, strength) for strength in (0.0, 0.5, 1.0))
    shown = [item.present("given") for item in behavior.train]
    plain, at_zero, at_half, at_full = choice_logps(lm, shown, [Intervention(), zero, half, full]).logps
    assert np.array_equal(plain, at_zero)
    assert not np.allclose(at_half, at_full, atol=1e-3)
    path = fitted / "epoch-2" / "adapter_model.safetensors"
    save_file({key: w * 0.5 if "lora_B" in key else w for key, w in weights(fitted, 2).items()}, path)
    assert np.allclose(choice_logps(lm, shown, [full]).logps[0], at_half, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_training_equals_plain_torch(family: str, tmp_path: Path) -> None:
    """The oracle: AdamW on −log p(letter), one whole prompt at a time, without padding, trainer or fused head."""
    lm, behavior = tiny_lm(family, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0), tiny_behavior(6)
    method = replace(FAST, batch_size=6, learning_rate=1e-3)
    found = weights(fit(method, lm, behavior, tmp_path / "fit", seed=3), 2)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(lm.model, config).train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.0)
    for _ in range(2):
        losses = []
        for item in behavior.train:
            shown = item.present("given")
            prompt = lm.choice_prompt(shown.question, (shown.matching, shown.contrast))
            logits = model(torch.tensor([prompt.ids])).logits[0, -1]
            losses.append(logits.logsumexp(-1) - logits[prompt.targets[0]])
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert len(found) == len(trained)
    for name, parameter in trained.items():
        assert torch.allclose(found[name.replace(".default", "")], parameter, atol=2e-5), name


def test_the_loss_reads_the_letter_alone() -> None:
    lm = tiny_lm()
    batch = _gradient.collate([{"input_ids": [5, 6, 7, 8], "target": [9]}, {"input_ids": [5, 6], "target": [10]}])
    with torch.no_grad():
        loss = _gradient.target_loss(lm, lm.model, batch)
        padded = {**batch, "input_ids": batch["input_ids"] + 11 * (1 - batch["attention_mask"])}
        by_hand = [lm.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1) for ids in ([5, 6, 7, 8], [5, 6])]
    assert torch.allclose(loss, -(by_hand[0][9] + by_hand[1][10]) / 2, atol=1e-5)
    assert torch.equal(_gradient.target_loss(lm, lm.model, padded), loss)


@pytest.mark.parametrize("target", ["letter", "answer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_common_beginning_is_read_once_with_the_same_gradient(
    family: str, target: Literal["letter", "answer"]
) -> None:
    lm = tiny_lm(family, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    asked = questions(Fit(lm, tiny_behavior(5), {}, "pos", 0, Intervention(), Path()), target=target)
    head = _gradient.shared_beginning(lm, asked)
    assert head > 8
    assert not _gradient.shared_beginning(lm, replace(asked, prompts=[[i, *p] for i, p in enumerate(asked.prompts)]))
    batch = _gradient.collate([{"input_ids": asked.inputs(i), "target": asked.targets[i]} for i in range(5)])
    lm.model.requires_grad_(True)
    losses = [_gradient.target_loss(lm, lm.model, batch, shared) for shared in (head, 0)]
    weights = [p for block in lm.blocks for p in block.parameters()]
    once, whole = (torch.autograd.grad(loss, weights) for loss in losses)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=0)
    size = max(float(gradient.abs().max()) for gradient in whole)
    assert max(float((a - b).abs().max()) for a, b in zip(once, whole, strict=True)) < 1e-5 * size


def test_questions_end_before_the_deciding_token() -> None:
    lm, behavior = tiny_lm(), tiny_behavior(4)
    pos, neg = (questions(Fit(lm, behavior, {}, d, 0, Intervention(), Path())) for d in ("pos", "neg"))
    assert pos.prompts == neg.prompts and pos.targets == neg.others and pos.others == neg.targets
    for item, ids, end, wanted, other in zip(
        behavior.train, pos.prompts, pos.ends, pos.targets, neg.targets, strict=True
    ):
        assert lm.tokenizer.decode(ids).endswith("[/INST] (")
        assert lm.tokenizer.decode(ids[: end + 1]).endswith("[/INST]")
        assert lm.tokenizer.decode(wanted) == item.matching
        assert lm.tokenizer.decode(other) == item.contrast


def test_an_epoch_of_a_longer_training_equals_a_shorter_training(tmp_path: Path) -> None:
    lm, behavior = tiny_lm(), tiny_behavior(20)
    long = fit(replace(FAST, epochs=3), lm, behavior, tmp_path / "long")
    short = fit(replace(FAST, epochs=1), lm, behavior, tmp_path / "short")
    assert equal(weights(long, 1), weights(short, 1))
    assert not equal(weights(long, 1), weights(long, 2))
    assert sorted(path.name for path in long.iterdir()) == ["epoch-1", "epoch-2", "epoch-3"]


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    lm, behavior = tiny_lm(), tiny_behavior(16)
    folders = [fit(FAST, lm, behavior, tmp_path / str(i), seed=seed) for i, seed in enumerate((0, 0, 1))]
    contents = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_and_the_tokenizer_are_as_before(family: str, tmp_path: Path) -> None:
    lm, behavior = tiny_lm(family), tiny_behavior(8)
    before, tokenizer = facts(lm), lm.tokenizer.special_tokens_map
    generation = lm.model.generation_config.to_json_string()
    fitted = fit(replace(FAST, epochs=1, epoch=1), lm, behavior, tmp_path / "fit")
    assert facts(lm) == before
    assert lm.tokenizer.special_tokens_map == tokenizer
    assert lm.model.generation_config.to_json_string() == generation
    baseline, moved = p_match(lm, behavior, Intervention(), intervention(replace(FAST, epoch=1), fitted))
    assert moved != baseline


def test_the_model_is_as_before_after_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_trainer, "_save", fail)
    lm = tiny_lm()
    before, state = facts(lm), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        fit(FAST, lm, tiny_behavior(8), tmp_path / "fit")
    assert facts(lm) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_the_process_is_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    lm, behavior = tiny_lm(), tiny_behavior(8)
    before = (random.getstate(), repr(np.random.get_state()), dict(os.environ), logging.get_verbosity())
    state = torch.get_rng_state()
    capfd.readouterr()
    fit(FAST, lm, behavior, tmp_path / "fit")
    assert capfd.readouterr() == ("", "")
    after = (random.getstate(), repr(np.random.get_state()), dict(os.environ), logging.get_verbosity())
    assert after == before
    assert torch.equal(torch.get_rng_state(), state)


def test_peft_loads_the_adapter_with_equal_logits(tmp_path: Path) -> None:
    lm = tiny_lm()
    folder = fit(FAST, lm, tiny_behavior(8), tmp_path / "fit") / "epoch-2"
    ids = torch.tensor([[3, 40, 41, 42]])
    with torch.no_grad():
        oracle = PeftModel.from_pretrained(tiny_lm().model, str(folder))(ids).logits
        with adapted(lm, folder, 1.0):
            assert torch.equal(lm.model(ids).logits, oracle)
    files = ["adapter_config.json", "adapter_model.safetensors", "trained.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["task_type"]) == ("tiny-llama", "CAUSAL_LM")


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes has no build for this platform")
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_model_trains_and_is_as_before(bits: int, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    source = tiny_lm(hidden_size=128)
    source.model.save_pretrained(tmp_path / "model")
    config = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", quantization_config=config, device_map={"": "cpu"}, dtype=torch.bfloat16
    )
    lm, behavior = LM(model, source.tokenizer, "quantized"), tiny_behavior(24)
    (plain,) = p_match(lm, behavior, Intervention())
    before = facts(lm)
    fitted = fit(FAST, lm, behavior, tmp_path / "fit")
    assert facts(lm) == before
    assert {tensor.dtype for tensor in weights(fitted, 2).values()} == {torch.float32}
    baseline, raised = p_match(lm, behavior, Intervention(), intervention(FAST, fitted))
    assert baseline == plain
    assert raised > baseline + 0.1


def test_long_prompts_are_left_out_up_to_2_percent() -> None:
    lm, behavior = tiny_lm(max_position_embeddings=200), tiny_behavior(100)
    long = replace(behavior.train[0], question=behavior.train[0].question * 5)
    one = replace(behavior, train=(long, *behavior.train[1:]))
    asked = questions(Fit(lm, one, {}, "pos", 0, Intervention(), Path()))
    assert len(asked.prompts) == len(asked.targets) == 99
    three = replace(behavior, train=(*(long,) * 3, *behavior.train[3:]))
    with pytest.raises(CompareError, match="3 of 100 contrast pairs"):
        questions(Fit(lm, three, {}, "pos", 0, Intervention(), Path()))


def test_candidates_are_the_product_of_what_is_auto() -> None:
    assert [(c.learning_rate, c.epoch) for c in SFT(epochs=2).candidates(4)] == [
        (rate, epoch) for rate in LEARNING_RATES for epoch in (1, 2)
    ]
    assert [(c.learning_rate, c.epoch) for c in SFT(learning_rate=1e-3).candidates(4)] == [
        (1e-3, epoch) for epoch in (1, 2, 3)
    ]
    assert [c.learning_rate for c in SFT(epoch=3).candidates(4)] == list(LEARNING_RATES)
    assert SFT(learning_rate=1e-3, epoch=1).candidates(4) == ()


def test_epochs_share_a_fit() -> None:
    assert replace(FAST, epoch=1).fit_settings() == replace(FAST, epoch=2).fit_settings()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (SFT(learning_rate=1e-3), "epoch is still auto"),
        (replace(FAST, epoch=3), "out of range"),
        (replace(FAST, epoch=0), "out of range"),
    ],
)
def test_an_epoch_that_was_not_trained_is_refused(method: SFT, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=message):
        intervention(method, tmp_path)


def test_auto_must_be_chosen_before_a_fit(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="learning_rate is still auto"):
        fit(SFT(), tiny_lm(), tiny_behavior(4), tmp_path / "fit")
