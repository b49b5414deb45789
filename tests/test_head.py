"""The output layer run apart: its log-probabilities are the model's own, in pieces and in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comparisons.engine import head as module
from comparisons.engine.completions import completion_logps
from comparisons.engine.head import Head, head_of, target_logps
from comparisons.intervention import Intervention
from comparisons.model.lm import LM, LOGITS
from tests.families.known import tiny_model
from tests.tiny import FAMILIES, tiny_lm, tiny_tokenizer


def questions(lm: LM) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids of two texts, the columns that are read, and five targets at each."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, vocabulary, (2, 9), generator=generator)
    return ids, torch.tensor([3, 7, 8]), torch.randint(0, vocabulary, (2, 3, 5), generator=generator)


def own(lm: LM, ids: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """By plain transformers code."""
    with torch.no_grad():
        logps: torch.Tensor = lm.model(ids).logits.float().log_softmax(-1)
    return logps[:, columns].gather(-1, targets)


def apart(lm: LM, ids: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return target_logps(lm, head_of(lm), {"input_ids": ids}, columns, targets)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_equals_the_models_own(family: str) -> None:
    lm = tiny_lm(family)
    assert head_of(lm) is not None
    torch.testing.assert_close(apart(lm, *questions(lm)), own(lm, *questions(lm)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_pieces_of_the_vocabulary_and_of_tokens_change_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm(family)
    lm.model.to(torch.bfloat16)
    whole = apart(lm, *questions(lm))
    monkeypatch.setattr(module, "WIDENED", 64 * 100)
    monkeypatch.setattr(module, "LOGITS", 100)
    torch.testing.assert_close(apart(lm, *questions(lm)), whole, atol=1e-5, rtol=0)


def test_sixteen_bits_are_rounded_no_further_than_what_enters_the_layer() -> None:
    lm = tiny_lm()
    lm.model.to(torch.bfloat16)
    ids, columns, targets = questions(lm)
    with torch.no_grad():
        entered = lm.model.model(ids).last_hidden_state[:, columns].float()
        exact = (entered @ lm.model.lm_head.weight.float().T).log_softmax(-1).gather(-1, targets)
    torch.testing.assert_close(apart(lm, ids, columns, targets), exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("weights", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("entering", [torch.bfloat16, torch.float16, torch.float32])
def test_no_bit_of_a_factor_is_lost(weights: torch.dtype, entering: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(512, 4096, bias=False, dtype=weights)
    hidden, before = torch.randn(64, 512).to(entering), torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    logits = Head(layer, layer.weight.detach(), None).all_words().logits(hidden)
    torch.testing.assert_close(logits.double(), hidden.double() @ layer.weight.detach().double().T, atol=1e-5, rtol=0)
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("family", "config"),
    [("GraniteConfig", {"logits_scaling": 8.0}), ("CohereConfig", {"logit_scale": 0.25})],
)
def test_families_that_scale_their_logits(family: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {**FAMILIES["llama"][1], **config}
    monkeypatch.setitem(FAMILIES, "scaled", (family, sizes))
    lm = tiny_lm("scaled")
    assert head_of(lm) is not None
    torch.testing.assert_close(apart(lm, *questions(lm)), own(lm, *questions(lm)), atol=1e-5, rtol=0)


def test_logits_that_are_made_otherwise_are_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    forward = lm.model.forward

    def shifted(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * torch.linspace(1, 2, output.logits.shape[-1])
        return output

    monkeypatch.setattr(lm.model, "forward", shifted)
    assert head_of(lm) is None
    torch.testing.assert_close(apart(lm, *questions(lm)), own(lm, *questions(lm)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bound_that_no_configuration_names_shows(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the logits are so small that it changes them by less than rounding does."""
    lm = tiny_lm(initializer_range=0.02)
    lm.model.to(dtype)
    forward = lm.model.forward

    def bounded(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = 30 * torch.tanh(output.logits / 30)
        return output

    assert head_of(lm) is not None
    lm.plain_head = None
    monkeypatch.setattr(lm.model, "forward", bounded)
    monkeypatch.setattr(module, "_is_changed", lambda layer: False)
    assert head_of(lm) is None


@pytest.mark.parametrize("family", ["recurrent_gemma", "xlstm"])
def test_bounds_have_several_names(family: str) -> None:
    lm = LM(tiny_model(family), tiny_tokenizer(), family)
    found = head_of(lm)
    assert found is not None
    assert found.cap == 30
    torch.testing.assert_close(apart(lm, *questions(lm)), own(lm, *questions(lm)), atol=1e-5, rtol=0)


def test_answers_over_a_large_vocabulary_hold_few_logits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm(vocab_size=262_144)
    held: list[int] = []
    finished = Head.finished

    def watched(head: Head, product: torch.Tensor) -> torch.Tensor:
        held.append(product.numel())
        return finished(head, product)

    monkeypatch.setattr(Head, "finished", watched)
    answer = "a garden is a plan of what grows " * 8
    completion_logps(lm, ["Why?", "What for?"], [[answer, answer[10:]]] * 2, [Intervention()])
    assert max(held) <= LOGITS
    assert sum(held) > 4 * LOGITS
