"""The trial by which a model's packing is chosen: sound branches pass in every precision, wrong masks in none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from comparisons.engine.late_branches import _Tiled
from comparisons.engine.prefix import packed_mask
from comparisons.engine.shared_prompt import behind
from comparisons.engine.trial import packing
from comparisons.model.lm import LM
from tests.tiny import FAMILIES, tiny_lm

Mask = torch.Tensor | dict[str, torch.Tensor]


def lm_in(dtype: str, family: str = "llama", **config: Any) -> LM:
    lm = tiny_lm(family, **config)
    lm.model.to(getattr(torch, dtype))
    return lm


def each(mask: Mask, change: Callable[[torch.Tensor], torch.Tensor]) -> Mask:
    return {kind: change(one) for kind, one in mask.items()} if isinstance(mask, dict) else change(mask)


def one_column_off(lm: LM, prefix: Any, position: torch.Tensor, among: torch.Tensor) -> Mask:
    columns = prefix.valid.shape[1]

    def rolled(mask: torch.Tensor) -> torch.Tensor:
        return torch.cat([mask[..., :columns].roll(1, dims=-1), mask[..., columns:]], dim=-1)

    return each(packed_mask(lm, prefix, position, among), rolled)


def last_prompt_token_hidden(lm: LM, prefix: Any, position: torch.Tensor, among: torch.Tensor) -> Mask:
    def hidden(mask: torch.Tensor) -> torch.Tensor:
        changed = mask.clone()
        changed[..., prefix.valid.shape[1] - 1] = torch.finfo(mask.dtype).min
        return changed

    return each(packed_mask(lm, prefix, position, among), hidden)


def branches_see_each_other(lm: LM, prefix: Any, position: torch.Tensor, among: torch.Tensor) -> Mask:
    return packed_mask(lm, prefix, position, torch.ones_like(among).tril())


def copies_see_each_other(copies: _Tiled, mask: torch.Tensor) -> torch.Tensor:
    """Of those that join late."""
    before = mask.shape[-1] - mask.shape[-2]
    tokens = len(copies.growth.sources) * copies.size
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    inside = torch.zeros(tokens, tokens, dtype=mask.dtype).masked_fill(~seen, torch.finfo(mask.dtype).min)
    rows = mask[:, :, copies._index(copies.growth.sources, mask.device)]
    return torch.cat([rows[..., :before], inside.expand(*rows.shape[:3], -1)], dim=-1)


def tokens_see_the_next(lm: LM, prefix: Any, position: torch.Tensor, among: torch.Tensor) -> Mask:
    return packed_mask(lm, prefix, position, among | among.T)


def with_window(lm: LM, window: int, *given: Any) -> Mask:
    kept = lm.config.sliding_window
    lm.config.sliding_window = window
    try:
        return packed_mask(lm, *given)
    finally:
        lm.config.sliding_window = kept


def window_ignored(lm: LM, *given: Any) -> Mask:
    return with_window(lm, 1 << 20, *given)


def window_one_longer(lm: LM, *given: Any) -> Mask:
    return with_window(lm, lm.config.sliding_window + 1, *given)


FAULTS = (one_column_off, last_prompt_token_hidden, branches_see_each_other, tokens_see_the_next)
WINDOW_FAULTS = (window_ignored, window_one_longer)
CASES = [
    *((family, fault) for family in sorted(FAMILIES) for fault in FAULTS),
    *((family, fault) for family in ("mistral", "gemma2", "gemma3") for fault in WINDOW_FAULTS),
]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_sound_branches_pass(family: str, dtype: str) -> None:
    lm = lm_in(dtype, family)
    assert packing(lm) == ("packed" if family == "gpt2" else "grown")
    # Gemma 2 caps its scores, which only the eager attention does; in 16 bits copies take no longer.
    assert lm.shares == (family != "gemma2" and dtype == "float32")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_deep_model_whose_logits_are_large_passes(dtype: str) -> None:
    """As real models are: what 16 bits do to its log-probabilities is far above a rounding step of one logit."""
    lm = lm_in(dtype, num_hidden_layers=24, initializer_range=0.3)
    assert packing(lm) == "grown"


@pytest.mark.parametrize(("family", "fault"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_wrong_masks_are_caught_in_bfloat16(family: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparisons.engine.passes.packed_mask", fault)
    if fault is branches_see_each_other:
        monkeypatch.setattr(_Tiled, "_whole_mask", copies_see_each_other)
    assert packing(lm_in("bfloat16", family)) == "rows"


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"gemma2"}))
def test_prompts_that_are_not_the_rows_own_are_not_shared(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparisons.engine.shared_prompt.behind", lambda prompt, own: behind(prompt.roll(1, 0), own))
    lm = lm_in("float32", family)
    assert packing(lm) != "rows"
    assert not lm.shares


def test_an_attention_that_does_more_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = lm_in("float32")
    asked = partial(lm.model.model.layers[0].self_attn.forward, position_bias=torch.zeros(1))
    monkeypatch.setattr(lm.model.model.layers[0].self_attn, "forward", asked)
    packing(lm)
    assert not lm.shares


def test_copies_that_see_each_other_are_not_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Tiled, "_whole_mask", copies_see_each_other)
    assert packing(lm_in("bfloat16")) == "packed"


def test_the_model_is_as_it_was() -> None:
    lm = lm_in("bfloat16")
    before, hooks = lm.mark(), [len(module._forward_hooks) for module in lm.model.modules()]
    packing(lm)
    assert lm.mark() == before
    assert [len(module._forward_hooks) for module in lm.model.modules()] == hooks
