"""LM: a causal language model with its tokenizer, its prompt format and its decoder blocks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from comparisons.model.blocks import blocks_at, find_blocks
from comparisons.model.fingerprint import mark, tensor_digest, tokenizer_digest
from comparisons.model.limits import token_budget
from comparisons.model.offload import execution_device
from comparisons.model.turn import Turn
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

    from comparisons.model.source import ModelSource, PromptFormat

PARTS = {
    "attention": ("self_attn", "attn", "attention"),
    "mlp": ("mlp", "feed_forward", "block_sparse_moe", "moe"),
}
"""What the families call the parts of a block."""

CACHE_ARGUMENTS = ("cache", "past_key_values")

# Templates that print today's date would change the prompt, and with it every number, from day to day.
TEMPLATE_ARGUMENTS = {"enable_thinking": False, "date_string": "26 Jul 2024"}


@dataclass(frozen=True)
class ChoicePrompt:
    """A question, tokenized up to the token that decides between its letters.

    Attributes:
        ids: all tokens before the deciding one.
        prompt_end: index of the last prompt token; what follows it is the answer prefix.
        targets: the deciding tokens of the letters, the matching one first.
    """

    ids: tuple[int, ...]
    prompt_end: int
    targets: tuple[int, ...]

    @property
    def shared(self) -> tuple[int, ...]:
        """The tokens that no edit from the end of the prompt on can reach."""
        return self.ids[: self.prompt_end]

    @property
    def tail(self) -> tuple[int, ...]:
        """The last prompt token and the answer prefix."""
        return self.ids[self.prompt_end :]


class LM:
    """A model, its tokenizer, and how the two read a question.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        tokenizer: its tokenizer.
        name: what reports call it.
        prompt_format: "chat", "base" or "llama2-paper"; by default chat where the tokenizer has a template.
        blocks: dotted path to the list of decoder blocks, where it can't be found.
        digest: content hash of weights and tokenizer; computed from the tensors where not given.
        reload: loads the same model and tokenizer once more; None where they can't be.
        source: from which another process loads the same model; None where it can't.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        prompt_format: PromptFormat | None = None,
        blocks: str | None = None,
        digest: str | None = None,
        reload: Callable[[], tuple[Any, Any]] | None = None,
        source: ModelSource | None = None,
    ) -> None:
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if prompt_format == "chat" and not has_template:
            raise CompareError(f"the tokenizer of {name} has no chat template: use --prompt-format base.")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.prompt_format: PromptFormat = prompt_format or ("chat" if has_template else "base")
        self.blocks_path = blocks or find_blocks(model)
        self.blocks = blocks_at(model, self.blocks_path)
        self.token_budget = token_budget(self.device.type, self.width)
        self.on_tokens: Callable[[int], None] = lambda count: None
        self._digest, self._reload, self.source = digest, reload, source
        self._clean: tuple[object, ...] | None = None
        _keep_unpacked(model)

    @property
    def config(self) -> Any:
        """The configuration of the text model."""
        return self.model.config.get_text_config()

    @property
    def device(self) -> torch.device:
        """Where the embeddings are, which is where token ids go."""
        embeddings = self.model.get_input_embeddings()
        return execution_device(embeddings) or embeddings.weight.device

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        return int(self.config.hidden_size)

    @property
    def context(self) -> int | None:
        """The longest sequence the model's positions allow."""
        length = getattr(self.config, "max_position_embeddings", None)
        return int(length) if length else None

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def cache_argument(self) -> str:
        """What the forward pass calls its cache: transformers 5.24 renamed it, a model's own code may not."""
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        # Of the class: what wraps a model's own forward seldom names what it hands on.
        taken = inspect.signature(type(model).forward).parameters
        return next((name for name in CACHE_ARGUMENTS if name in taken), CACHE_ARGUMENTS[0])

    @cached_property
    def digest(self) -> str:
        """Content hash of everything that can change a fitted artifact: weights, tokenizer, prompt format."""
        weights = self._digest or tensor_digest(self.model) + tokenizer_digest(self.tokenizer)
        dtype = str(self.model.get_input_embeddings().weight.dtype)
        quantized = repr(getattr(self.config, "quantization_config", None))
        parts = (weights, dtype, quantized, self.prompt_format, self.blocks_path)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def check_layer(self, layer: int) -> int:
        """The layer itself; raises CompareError where the model has no such block."""
        if not 0 <= layer < len(self.blocks):
            raise CompareError(f"layer {layer} is out of range: {self.name} has layers 0 to {len(self.blocks) - 1}.")
        return layer

    def module(self, layer: int, site: str) -> torch.nn.Module:
        """The part of a block whose output a site names: "block", "attention" or "mlp".

        Raises:
            CompareError: the model has no such block, or the block no such part.
        """
        block = self.blocks[self.check_layer(layer)]
        if site == "block":
            return block
        found = next((module for name, module in block.named_children() if name in PARTS[site]), None)
        if found is None:
            raise CompareError(f"the blocks of {self.name} have no part that is called {' or '.join(PARTS[site])}.")
        return found

    def is_clean(self) -> bool:
        """Whether the model is what it was when this was first asked."""
        mark = self.mark()
        if self._clean is None:
            self._clean = mark
        return mark == self._clean

    def restore(self) -> None:
        """Puts a model and tokenizer that somebody has changed back, by loading both again.

        Raises:
            CompareError: there is nowhere to load them from.
        """
        if self._reload is None:
            raise CompareError(f"the model {self.name} was changed and can't be loaded again: start anew.")
        model, self.tokenizer = self._reload()
        self.model = model.eval()
        self.blocks = blocks_at(model, self.blocks_path)
        _keep_unpacked(model)
        self._clean = self.mark()

    def mark(self) -> tuple[object, ...]:
        """A cheap fingerprint of model and tokenizer; see `fingerprint.mark`."""
        return mark(self.model, self.tokenizer)

    def prompt(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        """The text that ends where the answer begins, in the model's prompt format."""
        question = question.strip()
        if self.prompt_format == "chat":
            return self._chat_prompt(question, system, examples)
        if self.prompt_format == "base":
            turns = "".join(f"Input: {t.question.strip()}\nResponse: {t.answer.strip()}\n\n" for t in examples)
            return (f"{system}\n\n" if system else "") + turns + f"Input: {question}\nResponse:"
        turns = "".join(f"[INST] {t.question.strip()} [/INST] {t.answer.strip()} " for t in examples)
        head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
        return f"{head}{turns}[INST] {question} [/INST]"

    def _chat_prompt(self, question: str, system: str | None, examples: Sequence[Turn]) -> str:
        turns: list[dict[str, str]] = []
        for turn in examples:
            turns.append({"role": "user", "content": turn.question.strip()})
            turns.append({"role": "assistant", "content": turn.answer.strip()})
        return self.conversation(system, [*turns, {"role": "user", "content": question}])

    def conversation(self, system: str | None, turns: Sequence[Mapping[str, str]]) -> str:
        """The text of a conversation by the chat template, which ends where the answer begins.

        Args:
            system: system prompt.
            turns: messages of "user" and "assistant" in turn, the user's first and last, with their "content".
        """
        from jinja2.exceptions import TemplateError

        head = [{"role": "system", "content": system}] if system else []
        try:
            return self._apply_template([*head, *turns])
        except TemplateError:
            if not system:
                raise
            # Some templates (Gemma 2) refuse the system role; its text then opens the first user turn.
            opening = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
            return self._apply_template([opening, *turns[1:]])

    def _apply_template(self, messages: Sequence[Mapping[str, str]]) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **TEMPLATE_ARGUMENTS
        )
        return str(text)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a prompt. A chat template writes its special tokens itself; others get the default ones."""
        ids = self.tokenizer(text, add_special_tokens=self.prompt_format != "chat")["input_ids"]
        return list(ids)

    def choice_prompt(
        self,
        question: str,
        letters: Sequence[str],
        system: str | None = None,
        examples: Sequence[Turn] = (),
    ) -> ChoicePrompt:
        """Tokenizes a question up to the token that decides between its letters.

        The answers "(A)" and "(B)" are tokenized whole, and the first token where they differ decides: whether
        "A", "(A" or "A)" is a token is the tokenizer's business.

        Args:
            question: with its lettered choices.
            letters: two or more, bare.
            system: system prompt.
            examples: few-shot turns.
        """
        text = self.prompt(question, system, examples)
        opening = "(" if text[-1:].isspace() else " ("
        answers = [self.tokenize(f"{text}{opening}{letter})") for letter in letters]
        first = answers[0]
        decided = min(common_prefix(first, other) for other in answers[1:])
        end = common_prefix(self.tokenize(text), first[:decided]) - 1
        if decided >= min(map(len, answers)) or end < 0 or len({ids[decided] for ids in answers}) < len(answers):
            raise CompareError(f"the tokenizer of {self.name} can't tell ({') from ('.join(letters)}).")
        return ChoicePrompt(tuple(first[:decided]), end, tuple(ids[decided] for ids in answers))


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)


def _keep_unpacked(model: Any) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights at the first forward on a CPU with bfloat16 instructions.

    The packed ones pass no gradient, and a state dict taken from them has lost its scales.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False
