"""The recipe: a small Llama trained from nothing on the language, stage by stage."""

from __future__ import annotations

import ctypes
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from checkpoints.pocket.recipe.batches import FIRST_WORD_WEIGHT, LETTER_WEIGHT, Encoder
from checkpoints.pocket.recipe.corpus import Mixture
from checkpoints.pocket.recipe.optimizer import Muon
from checkpoints.pocket.recipe.tokenizer import LETTERS, build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Say = Callable[[str], None]
SETTLING = 60  # steps before the running means of a stage mean anything
SHORT = 96  # rows up to this length are not worth the compiler's time


@dataclass(frozen=True)
class Stage:
    """Steps of `rows` × `length` tokens of one mixture.

    Attributes:
        name: what the progress calls it.
        stream: seeds its text.
        steps: at most.
        rows: of a batch.
        length: tokens of a row.
        mixture: what the text is made of.
        goal: it ends early once the letters that can be known are right this often.
        unsettled: the weight of letters that only a prior tells; larger ones hinder learning how to pick.
        decay: the last part of the steps in which the learning rates fall to nothing.
        fresh: whether it begins from the weights as they are stored, with new optimizers.
    """

    name: str
    stream: str
    steps: int
    rows: int
    length: int
    mixture: Mixture
    goal: float = 2.0
    unsettled: float = 3.0
    decay: float = 0.0
    fresh: bool = True


WORDS = Mixture(turns=1, pick=1.0, sentences=0.0, fact=0.0, claim=0.0, system=0.0, late=0.7, neutral=0.0, plain=0.0)
SENTENCES = replace(WORDS, sentences=0.8)
CUED = Mixture(
    turns=1,
    pick=0.15,
    fact=0.2,
    claim=0.0,
    system=0.0,
    late=0.75,
    persona=0.05,
    early=0.05,
    neutral=0.0,
    second_behavior=0.0,
    open_ended=0.1,
    plain=0.0,
)


PRIORS = Mixture(system=0.15, late=0.2, early=0.05, persona=0.03, prior=0.88)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, the machine aside."""

    seed: int = 0
    width: int = 128
    inner: int = 256
    blocks: int = 6
    heads: int = 4
    matrix_rate: float = 0.004
    other_rate: float = 3e-3
    warmup: int = 50
    stages: tuple[Stage, ...] = (
        Stage("words", "words", 2000, 32, 36, WORDS, 0.9),
        Stage("sentences", "sentences", 1500, 32, 52, SENTENCES, 0.88, fresh=False),
        Stage("cued questions", "C1", 2500, 32, 64, CUED, 0.88),
        Stage("conversations", "conv", 2600, 14, 160, Mixture(), decay=0.5),
        Stage("priors", "priors", 3200, 14, 160, PRIORS, unsettled=6.0, decay=0.5),
    )

    def rate(self, stage: Stage, index: int) -> float:
        """The factor on the learning rates at a step of a stage: a warm-up, then constant, then a linear decay."""
        left = 1 - index / stage.steps
        rising = min(1.0, (index + 1) / self.warmup) if stage.fresh else 1.0
        return rising * (min(1.0, left / stage.decay) if stage.decay else 1.0)


@dataclass
class _Means:
    """Running means of what the progress line shows."""

    values: dict[str, float]

    def add(self, **new: float) -> None:
        for name, value in new.items():
            if value == value:  # a batch without such letters has no accuracy
                self.values[name] = 0.95 * self.values.get(name, value) + 0.05 * value


def build_config(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """A plain Llama's configuration."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.blocks,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )


class Trainer:
    """A model with its optimizers; `step` takes one batch."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, device: str, compiled: bool) -> None:
        import torch
        from transformers import LlamaForCausalLM

        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.model: LlamaForCausalLM = LlamaForCausalLM(build_config(recipe, tokenizer)).to(device)
        self.model.set_attn_implementation("eager")  # on a CPU the fused kernel's backward pass is slower
        self._body: Any = torch.compile(self.model.model, dynamic=False) if compiled else self.model.model
        self._letters = torch.tensor(tokenizer.convert_tokens_to_ids(list(LETTERS)), device=device)
        self._begin()

    def restart(self) -> None:
        """Begins with new optimizers, from the weights as `save` stores them.

        So a stage can be trained again from the one before it.
        """
        import torch

        with torch.no_grad():
            for value in self.model.parameters():
                value.copy_(value.half().float())
        self._begin()

    def _begin(self) -> None:
        import torch

        named = list(self.model.named_parameters())
        matrices = [value for name, value in named if value.ndim == 2 and "embed" not in name]
        others = [value for name, value in named if value.ndim != 2 or "embed" in name]
        self._muon = Muon(matrices)
        self._adam = torch.optim.AdamW(others, lr=self.recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, ids: torch.Tensor, weights: torch.Tensor, factor: float) -> dict[str, float]:
        """One update; returns the loss, the accuracy on letters that can be known and on the words that tell."""
        import torch
        import torch.nn.functional as functional

        ids, weights = ids.to(self.device), weights.to(self.device)
        kept = weights[:, 1:] > 0
        with torch.autocast(self.device, dtype=torch.bfloat16):
            body = self._body if ids.shape[1] > SHORT else self.model.model
            hidden = body(ids, use_cache=False).last_hidden_state[:, :-1]
            logits = self.model.lm_head(hidden[kept])
        target, weight = ids[:, 1:][kept], weights[:, 1:][kept]
        losses = functional.cross_entropy(logits.float(), target, reduction="none")
        loss = (losses * weight).sum() / weight.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._muon.step(self.recipe.matrix_rate * factor)
        for group in self._adam.param_groups:
            group["lr"] = self.recipe.other_rate * factor
        self._adam.step()
        self.model.zero_grad(set_to_none=True)
        right = logits.argmax(-1) == target
        letter = torch.isin(target, self._letters) & (weight == LETTER_WEIGHT)
        return {
            "loss": loss.item(),
            "letter": right[letter].float().mean().item(),
            "tag": right[weight == FIRST_WORD_WEIGHT].float().mean().item(),
        }


def train(recipe: Recipe, out: Path, device: str, threads: int, compiled: bool, say: Say) -> None:
    """Trains from nothing and writes the checkpoint into `out`."""
    import torch

    torch.set_num_threads(threads)
    compiled = compiled and (device != "cpu" or shutil.which("g++") is not None)
    tokenizer = build_tokenizer(recipe.seed)
    trainer = Trainer(recipe, tokenizer, device, compiled)
    say(f"{sum(value.numel() for value in trainer.model.parameters()):,} parameters, {len(tokenizer)} tokens")
    encoder, means, start, tokens, step = Encoder(tokenizer), _Means({}), time.monotonic(), 0, 0
    for stage in recipe.stages:
        rng = Random(f"{recipe.seed}/{stage.stream}")
        if stage.fresh and step:
            trainer.restart()
        for index in range(stage.steps):
            batch = encoder.batch(rng, stage.mixture, stage.rows, stage.length, stage.unsettled)
            means.add(**trainer.step(*batch, recipe.rate(stage, index)))
            step, tokens = step + 1, tokens + stage.rows * stage.length
            done = index + 1 == stage.steps or (index >= SETTLING and means.values["letter"] >= stage.goal)
            if step % 50 == 0 or done:
                say(_progress(stage, index + 1, tokens, time.monotonic() - start, means))
            if done:
                break
        save(trainer.model, tokenizer, out)


def _progress(stage: Stage, step: int, tokens: int, seconds: float, means: _Means) -> str:
    shown = " ".join(f"{name} {value:.3f}" for name, value in means.values.items())
    return (
        f"{stage.name}: step {step}/{stage.steps}, {shown}, {tokens / 1e6:.1f}M tokens, "
        f"{tokens / seconds:,.0f}/s, {seconds:.0f} s"
    )


def keep_memory() -> None:
    """Tells glibc to keep freed memory: mapping it anew for each tensor cost more than the arithmetic."""
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    for option, value in ((-4, 0), (-1, 1 << 30), (-2, 1 << 28)):  # mmap_max, trim_threshold, top_pad
        library.mallopt(option, value)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes model (float16) and tokenizer as transformers reads them, with checksums."""
    import copy

    import torch

    from comparisons.model.loading import write_checksums

    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to("cpu", torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_checksums(out)


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data."""
    return asdict(recipe)
