"""What the engine's invariants are held on: every family of `tiny`, and variations of some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from comparisons.model.lm import LM
from tests.tiny import FAMILIES, tiny_lm


def wrapped() -> LM:
    """A Llama inside PEFT's own wrapper, with an adapter that changes its answers."""
    from peft import LoraConfig, get_peft_model

    base = three_blocks()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        model = get_peft_model(base.model, config).eval()
    return LM(model, base.tokenizer, "tiny-peft")


def three_blocks(family: str = "llama", **config: Any) -> LM:
    """A first block, a last one, and one between."""
    sizes: dict[str, Any] = {"n_layer" if family == "gpt2" else "num_hidden_layers": 3}
    return tiny_lm(family, **sizes, **config)


SUBJECTS: dict[str, Callable[[], LM]] = {
    **{family: (lambda family=family: three_blocks(family)) for family in FAMILIES},  # type: ignore[misc]
    "llama-tied": lambda: three_blocks(tie_word_embeddings=True),
    "gemma2-caps": lambda: three_blocks("gemma2", attn_logit_softcapping=5.0, final_logit_softcapping=10.0),
    "llama-eager": lambda: three_blocks(attn_implementation="eager"),
    "llama-peft": wrapped,
}
