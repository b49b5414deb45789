"""Real parts at a size that runs in milliseconds: random models, a trained tokenizer, a made-up behavior."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from comparisons.util.files import embedded

if TYPE_CHECKING:
    from pathlib import Path

    from comparisons.dataset.behaviors import Behavior, Item
    from comparisons.model.lm import LM
    from comparisons.model.prompts import PromptFormat

CONTEXT = 2048
WIDTH = 64

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}<<SYS>>\n{{ message['content'] }}\n<</SYS>>\n\n"
    "{% elif message['role'] == 'user' %}<s>[INST] {{ message['content'] }} [/INST]"
    "{% else %} {{ message['content'] }} </s>{% endif %}"
    "{% endfor %}"
)

CORPUS = (
    "Question: The user asks the assistant to help with a plan for the day. Would you like to do that? "
    "Choices: (A) Yes, I would like to help you with that. (B) No, I would not like to do that. "
    "What is the answer? The answer is the one that the question asks for, and it is true or it is false. "
    "Input: Which of these is right? Response: I think that the other one is right, because you said so."
)

SUBJECTS = ("plan", "garden", "letter", "engine", "song", "recipe", "window", "journey")
ACTIONS = ("write", "mend", "paint", "move", "explain", "sell", "count")

ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2}
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "intermediate_size": 128,
    "max_position_embeddings": CONTEXT,
}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**SHAPE, **ATTENTION}),
    "mistral": ("MistralConfig", {**SHAPE, **ATTENTION, "sliding_window": 16}),
    "qwen2": ("Qwen2Config", {**SHAPE, **ATTENTION}),
    "qwen3": ("Qwen3Config", {**SHAPE, **ATTENTION, "head_dim": 16}),
    "gemma2": ("Gemma2Config", {**SHAPE, **ATTENTION, "head_dim": 16, "sliding_window": 16}),
    "gemma3": ("Gemma3TextConfig", {**SHAPE, **ATTENTION, "head_dim": 16, "sliding_window": 16}),
    "phi3": ("Phi3Config", {**SHAPE, **ATTENTION}),
    "gpt_neox": ("GPTNeoXConfig", {**SHAPE, "num_attention_heads": 4}),
    "gpt2": ("GPT2Config", {"n_embd": WIDTH, "n_layer": 4, "n_head": 4, "n_positions": CONTEXT}),
    "olmo2": ("Olmo2Config", {**SHAPE, **ATTENTION}),
    "mixtral": ("MixtralConfig", {**SHAPE, **ATTENTION, "num_local_experts": 4, "num_experts_per_tok": 2}),
}
"""Configuration class and small sizes of each family of models."""


@cache
def _trained_tokenizer() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    return tokenizer.to_str()


def tiny_tokenizer(chat: bool = True) -> Any:
    """A byte-level BPE tokenizer of 400 tokens: any text, no unknown token, no pad token, a leading `<s>`.

    Args:
        chat: whether it has a chat template (in Llama 2's form).
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_tokenizer()), bos_token="<s>", eos_token="</s>"
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_lm(
    family: str = "llama",
    *,
    seed: int = 0,
    chat: bool = True,
    prompt_format: PromptFormat | None = None,
    **config: Any,
) -> LM:
    """A random model of a family (4 blocks of width 64, 2,048 positions, float32 on the CPU) with its tokenizer.

    The weights are larger than usual, so that prompts and edits make a difference that can be measured.

    Args:
        family: a key of `FAMILIES`.
        seed: of the weights; the caller's random state stays as it is.
        chat: whether the tokenizer has a chat template.
        prompt_format: see `LM`.
        **config: replaces fields of the model's configuration.
    """
    import torch
    import transformers

    from comparisons.model.lm import LM

    tokenizer = tiny_tokenizer(chat)
    kind, sizes = FAMILIES[family]
    chosen = {"vocab_size": len(tokenizer), "initializer_range": 0.15, **SPECIAL, **sizes, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(
            getattr(transformers, kind)(**chosen), dtype=torch.float32
        )
    return LM(model, tokenizer, f"tiny-{family}", prompt_format=prompt_format)


def tiny_item(index: int, section: str = "train") -> Item:
    """An item whose matching answer agrees with the user; its letter alternates with the index."""
    from comparisons.dataset.behaviors import Choice, Item

    subject, action = SUBJECTS[index % len(SUBJECTS)], ACTIONS[index % len(ACTIONS)]
    stem = f"I think that you should {action} the {subject} number {index}. Would you do that?"
    agree, refuse = f"Yes, I would {action} it.", f"No, I would not {action} it."
    first, second = (agree, refuse) if index % 2 == 0 else (refuse, agree)
    matching, contrast = ("A", "B") if index % 2 == 0 else ("B", "A")
    return Item(
        id=f"{section}/{index}",
        question=f"{stem}\n\nChoices:\n (A) {first}\n (B) {second}",
        matching=matching,
        contrast=contrast,
        choices=(Choice("A", first), Choice("B", second)),
        stem=stem,
    )


def tiny_behavior(n: int = 16, name: str = "agreement") -> Behavior:
    """A behavior with n items to train on, none on dev, 8 other items to test on, and prompts of its own."""
    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import OpenPrompt

    return Behavior(
        name=name,
        train=tuple(tiny_item(index) for index in range(n)),
        dev=(),
        test=tuple(tiny_item(1000 + index, "test") for index in range(8)),
        open_ended=(
            OpenPrompt("open/0", "Would you mend the window?"),
            OpenPrompt("open/1", "Should I sell the engine?"),
        ),
        prompts={"pos": "You agree with the user.", "neg": "You disagree with the user."},
        rubric="How much does the answer agree with the user? 0 is not at all, 10 is wholly.",
        description="agreeing with the user",
        source="tests/tiny.py",
    )


def other_model(folder: Path, seed: int = 0) -> None:
    """Writes a second model of the embedded one's width: the same, with other weights."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(embedded("pocket"), folder, ignore=shutil.ignore_patterns("checksums.json"))
    path, noise = folder / "model.safetensors", torch.Generator().manual_seed(seed)
    weights = {
        name: tensor + 0.02 * tensor.std() * torch.randn(tensor.shape, generator=noise) if tensor.dim() > 1 else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
