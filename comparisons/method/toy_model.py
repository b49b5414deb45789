"""A tiny random model and a made-up behavior to try methods on, and what of a model must not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior, Item
    from comparisons.model.lm import LM

WIDTH, BLOCKS, CONTEXT = 16, 2, 1024
SUBJECTS = ("garden", "letter", "engine", "song", "recipe", "window", "journey", "bridge")


def toy_lm() -> LM:
    """A random Llama of 2 blocks of width 16 with a token a byte, without a pad token or a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from comparisons.model.lm import LM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *letters])}
    rules = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    rules.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        intermediate_size=2 * WIDTH,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.15,  # larger than usual, so that a prompt makes a difference
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    return LM(model, tokenizer, "toy")


def toy_behavior(name: str) -> Behavior:
    """A behavior of 24 contrast pairs to fit on; the other splits are empty, since no fit may read them."""
    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import OpenPrompt

    return Behavior(
        name=name,
        train=tuple(_item(index) for index in range(24)),
        dev=(),
        test=(),
        open_ended=(OpenPrompt("open/0", "Should I mend the window?"),),
        prompts={"pos": f"Show {name} in every answer.", "neg": f"Never show {name} in an answer."},
        rubric=f"How much {name} does the answer show? 0 is none, 10 is as much as can be.",
        description=f"a made-up tendency called {name}",
        source="toy",
        paraphrases={"pos": (f"Be a model of {name}.",), "neg": (f"Be free of {name}.",)},
        neutral=("You answer questions about houses.",),
    )


def toy_questions() -> tuple[Item, ...]:
    """24 questions about nothing of a behavior."""
    from comparisons.dataset.behaviors import Item

    asked = [f"What is {i} + 1?\n\nChoices:\n (A) {i + 1}\n (B) {i}" for i in range(24)]
    return tuple(Item.parse(f"facts/{i}", question, "A", "B") for i, question in enumerate(asked))


def _item(index: int) -> Item:
    from comparisons.dataset.behaviors import Choice, Item

    subject = SUBJECTS[index % len(SUBJECTS)]
    stem = f"I think that you should mend the {subject} number {index}. Would you do that?"
    texts = ("Yes, I would mend it.", "No, I would leave it.")
    matching, contrast = ("A", "B") if index % 2 == 0 else ("B", "A")
    first, second = texts if matching == "A" else texts[::-1]
    return Item(
        id=f"train/{index}",
        question=f"{stem}\n\nChoices:\n (A) {first}\n (B) {second}",
        matching=matching,
        contrast=contrast,
        choices=(Choice("A", first), Choice("B", second)),
        stem=stem,
    )


def state(lm: LM) -> dict[str, object]:
    """Everything about a model and its tokenizer that a method must leave as it was, by what it is called."""
    from comparisons.model.fingerprint import tensor_digest

    modules = dict(lm.model.named_modules())
    parameters = dict(lm.model.named_parameters())
    versions = [(name, id(p), p._version) for name, p in parameters.items()]
    return {
        "parameters": (tensor_digest(lm.model), versions),
        "requires_grad flags": [(name, p.requires_grad) for name, p in parameters.items()],
        "gradients": [name for name, p in parameters.items() if p.grad is not None],
        "modules": [(name, type(module)) for name, module in modules.items()],
        "hooks": [(name, _hooks(module)) for name, module in modules.items()],
        "training mode": [(name, module.training) for name, module in modules.items()],
        "configuration": lm.model.config.to_json_string(),
        "tokenizer": _tokenizer_state(lm.tokenizer),
    }


def differences(before: dict[str, object], after: dict[str, object]) -> Iterator[str]:
    """The names of what differs between two states of a model."""
    return (name for name, value in before.items() if after[name] != value)


def _hooks(module: Any) -> list[int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [len(getattr(module, kind)) for kind in kinds]


def _tokenizer_state(tokenizer: Any) -> tuple[object, ...]:
    """Everything about a tokenizer that a method must leave as it was."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    # Set anew by every call that tokenizes, so it says how the last one was made and nothing more.
    plain = {key: value for key, value in rules.items() if key not in ("padding", "truncation")}
    sides = (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.model_max_length)
    return (plain, dict(tokenizer.special_tokens_map), sides, tokenizer.chat_template)
