"""LM: a causal language model with its tokenizer, its prompt format and its decoder blocks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from comparisons.model.checks import check_vocabulary
from comparisons.model.fingerprint import mark, tensor_digest, tokenizer_digest
from comparisons.model.mending import QUESTION, SYSTEM
from comparisons.model.meter import TokenMeter
from comparisons.model.offload import execution_device, weight_of
from comparisons.model.prompts import ChoicePrompt, PromptFormat, ThinkingMode, Turn, checked_writer
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

    from comparisons.model.source import ModelSource

PARTS = {
    "attention": ("self_attn", "attn", "attention"),
    "mlp": ("mlp", "feed_forward", "block_sparse_moe", "moe"),
}
"""What the families call the parts of a block."""

CACHE_ARGUMENTS = ("cache", "past_key_values")

MAX_BRANCH_TOKENS = 1_024
"""Branch tokens of one prompt in one forward: attention among them grows with the square."""

LOGITS = 1 << 24
"""Logits that are held at once, 64 MiB: those of whole answers over a vocabulary of 262,000 would be gigabytes."""

WIDENED = 1 << 26
"""Weights of the output layer that are held in float32 at once, 256 MiB, where the model computes in 16 bits."""

Packing = Literal["grown", "packed", "rows"]
"""How branches may be run: packed, joining where their edits begin; packed; or a row each."""

Continuing = Literal["cache", "own", "text"]
"""How a text is gone on with: from a cache of keys and values, from the one that the model makes, or from its start."""


def token_budget(device: str, width: int) -> int:
    """Tokens of a batch. On a CPU larger ones than its caches hold are slower, not faster.

    Args:
        device: its type.
        width: of the residual stream.
    """
    return 32_768 if device == "cuda" else min(8_192, max(1_024, 2**20 // width))


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
        thinking: whether free answers begin with a thought.

    Attributes:
        prompts: its tokenizer and prompt format.
        blocks: its decoder blocks.
        token_budget: tokens of a batch; the engine lowers it where memory runs out.
        packing: how branches may be run; None until the engine has tried it.
        continuing: how it goes on with a text that has been read; None until the engine has tried it.
        pads: whether rows of a batch may be of different lengths, padded at their start; None until it is tried.
        shares: whether rows may attend to a prompt that they share without copies of it; None until it is tried.
        plain_head: whether logits are the output layer's product, scaled and capped; None until it is tried.
        meter: counts the tokens that are run.
        injected: the adapter that was on it last, as `engine.adapters` keeps it; None for none.
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
        thinking: ThinkingMode = "off",
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.prompts = checked_writer(tokenizer, prompt_format, name, thinking)
        self.blocks_path = blocks or find_blocks(model)
        self.blocks = blocks_at(model, self.blocks_path)
        self.token_budget = token_budget(self.device.type, self.width)
        self.packing: Packing | None = None
        self.continuing: Continuing | None = None
        self.pads: bool | None = None
        self.shares: bool | None = None
        self.plain_head: bool | None = None
        self.meter = TokenMeter()
        self.injected: tuple[Any, ...] | None = None
        self._digest, self._reload, self.source = digest, reload, source
        self._clean: tuple[object, ...] | None = None
        check_vocabulary(tokenizer, name, len(model.get_input_embeddings().weight), self.prompts.probe()[1])
        _complete(model)
        if self._begins_a_thought():
            self.prompts = checked_writer(tokenizer, prompt_format, name, thinking, thinks=True)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.prompts.tokenizer

    @property
    def prompt_format(self) -> PromptFormat:
        """The prompt format."""
        return self.prompts.format

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
    def embeddings(self) -> torch.Tensor:
        """The weight of the input embeddings, [vocabulary, width], read from where it is kept."""
        return weight_of(self.model.get_input_embeddings())

    @property
    def quantized(self) -> bool:
        """Whether the model's matrices are quantized."""
        return any(getattr(self.model, f"is_loaded_in_{bits}bit", False) for bits in (4, 8))

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        return int(self.config.hidden_size)

    @property
    def context(self) -> int | None:
        """The longest sequence the model's positions allow.

        By LongRoPE (Phi-3) it is that of the short factors: the long ones would not fit keys that were read before.
        """
        config, rope = self.config, getattr(self.config, "rope_parameters", None) or {}
        length = getattr(config, "max_position_embeddings", None)
        kinds = rope.values() if isinstance(next(iter(rope.values()), None), dict) else [rope]  # of layers, or of all
        for each in (kind for kind in kinds if kind.get("rope_type") == "longrope"):
            trained = getattr(config, "original_max_position_embeddings", None)
            length = each.get("original_max_position_embeddings") or trained or length
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
        # What a tokenizer's own files say of a prompt is in its digest; what was mended is known here alone.
        probe = self.prompts.probe() if self.prompts.reading.mended else ()
        thinking = self.prompts.thinking and ("thinking", self.prompts.free_text(QUESTION, SYSTEM))
        parts = (weights, dtype, quantized, self.prompt_format, self.blocks_path, *probe, *(thinking or ()))
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
        part = next((module for name, module in block.named_children() if name in PARTS[site]), None)
        if part is None:
            raise CompareError(f"the blocks of {self.name} have no part that is called {' or '.join(PARTS[site])}.")
        return part

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
        self.injected = None
        model, tokenizer = self._reload()
        old = self.prompts
        self.model, self.prompts = model.eval(), checked_writer(tokenizer, old.format, self.name, old.mode, old.thinks)
        self.blocks = blocks_at(model, self.blocks_path)
        _complete(model)
        self._clean = self.mark()

    def mark(self) -> tuple[object, ...]:
        """A cheap fingerprint of model and tokenizer; see `fingerprint.mark`."""
        return mark(self.model, self.tokenizer)

    def in_format(self, prompt_format: PromptFormat) -> LM:
        """A view that writes its prompts in another format; model, tokenizer and meter are shared."""
        view = copy(self)
        mode = self.prompts.mode if prompt_format == "chat" else "off"
        view.prompts = checked_writer(self.tokenizer, prompt_format, self.name, mode, self.prompts.thinks)
        # The hash depends on the format, and a copy brings the one that was computed.
        vars(view).pop("digest", None)
        return view

    def prompt(self, question: str, system: str | None = None, examples: Sequence[Turn] = ()) -> str:
        """See `PromptWriter.text`."""
        return self.prompts.text(question, system, examples)

    def tokenize(self, text: str) -> list[int]:
        """See `PromptWriter.tokenize`; raises CompareError where the model has no embedding for a token."""
        ids = self.prompts.tokenize(text)
        self._check_embedded(ids)
        return ids

    def choice_prompt(
        self, question: str, letters: Sequence[str], system: str | None = None, examples: Sequence[Turn] = ()
    ) -> ChoicePrompt:
        """See `PromptWriter.choice`; raises CompareError where the model has no embedding for a token."""
        prompt = self.prompts.choice(question, letters, system, examples)
        self._check_embedded(prompt.ids)
        return prompt

    def _begins_a_thought(self) -> bool:
        """Whether the likeliest answer to the probe's question begins with a thought that the template leaves to it."""
        import torch

        opens, ids = self.prompts.reading.opens, self.tokenize(self.prompt(QUESTION))
        end, text = len(ids), ""
        while opens.startswith(text) and len(ids) - end < len(opens) and self.device.type != "meta":
            with torch.no_grad():
                ids.append(int(self.model(torch.tensor([ids], device=self.device)).logits[0, -1].argmax()))
            text = self.tokenizer.decode(ids[end:]).lstrip()
        return opens != "" and text.startswith(opens)

    def _check_embedded(self, ids: Sequence[int]) -> None:
        """A tokenizer may have special tokens beyond the embeddings, as of images, which a text may name."""
        if (most := max(ids, default=0)) >= len(self.model.get_input_embeddings().weight):
            token = self.tokenizer.convert_ids_to_tokens(most)
            raise CompareError(f"a text holds {token!r}, for which {self.name} has no embedding: take it out.")


def blocks_at(model: Any, path: str) -> list[torch.nn.Module]:
    """The decoder blocks at a dotted path; raises CompareError where there is no list of modules."""
    from torch.nn import ModuleList, Sequential

    try:
        blocks = model.get_submodule(path)
    except AttributeError:
        blocks = None
    if not isinstance(blocks, (ModuleList, Sequential)) or not len(blocks):
        raise CompareError(
            f"--blocks {path}: {type(model).__name__} has no list of blocks there: name them, as in model.layers."
        )
    return list(blocks)


def find_blocks(model: Any) -> str:
    """The dotted path of the list of decoder blocks: the outermost list of the text's part with one module a layer.

    Raises:
        CompareError: there is none; `--blocks` names it.
    """
    import torch

    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    }
    # An image tower may have as many.
    text = {*model.get_decoder().modules()} if hasattr(model, "get_decoder") else set()
    lists = {name: module for name, module in lists.items() if module in text} or lists or _outermost(model, text)
    if not lists:
        kind = type(model).__name__
        raise CompareError(f"no list of {count} decoder blocks in {kind}: name it by --blocks path.to.layers.")
    return str(min(lists, key=lambda name: name.count(".")))


def _outermost(model: Any, text: set[Any]) -> dict[str, Any]:
    """The one list that the text's part has outside of any other: a block may be counted as two layers (LongCat)."""
    import torch

    lists = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and m in text}
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    return {name: lists[name] for name in outer} if len(outer) == 1 else {}


def _complete(model: Any) -> None:
    """Makes of a model what trainers and the engine take for granted."""
    if getattr(model, "generation_config", None) is None:
        # Of a class without transformers' way to generate, as a model's own code may be.
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_model_config(model.config)
    _keep_unpacked(model)


def _keep_unpacked(model: Any) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights at the first forward on a CPU with bfloat16 instructions.

    The packed ones pass no gradient, and a state dict taken from them has lost its scales.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False
