"""What is timed: random models built from a seed without any download, and items of exact length."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comparisons.dataset.items import Item
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError, StorageError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comparisons.model.lm import LM

STANDARD = "standard"
LLAMA2_7B = "llama2-7b-shape"
SMOLLM2 = "smollm2"
SEED = 0
CHOICE_WORDS = 4
"""Words of each choice's text."""

WORD_TOKENS = 4
"""More tokens than a common word has, so that what is dropped at once is never too much."""

FILLERS = 24
"""Words that are tried in what is left of a prompt's length."""

_ENGLISH = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out "
    "many then them these so some her would make like him into time has look two more write go see number no way "
    "could people my than first water been call who its now find long down day did get come made may part"
)
WORDS = tuple(_ENGLISH.split())
"""Common English words, of which items for a model with a tokenizer of its own are made."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a random Llama.

    Attributes:
        blocks: decoder blocks.
        width: of the residual stream.
        intermediate: of the MLP.
        heads: attention heads.
        vocabulary: tokens.
        context: positions.
        dtype: of the weights, unless told otherwise.
        spread: standard deviation of the initial weights.
    """

    blocks: int = 12
    width: int = 512
    intermediate: int = 1408
    heads: int = 8
    vocabulary: int = 4096
    context: int = 4096
    dtype: str = "float32"
    spread: float = 0.02


SHAPES = {
    STANDARD: Shape(),
    LLAMA2_7B: Shape(32, 4096, 11_008, 32, 32_000, 4096, "bfloat16"),
}


def open_subject(source: ModelSource) -> LM:
    """The model to time.

    Args:
        source: "standard" (43M parameters), "llama2-7b-shape" (random weights in the shape of Llama 2 7B), or what any
            command takes. A random one takes the CPU where the device is "auto"; it must be a folder for what is about
            a checkpoint, see `write_subject`.

    Raises:
        CompareError: there is no such model or device.
    """
    if source.name in SHAPES:
        _check_random(source)
        device = "cpu" if source.device == "auto" else source.device
        return random_llama(SHAPES[source.name], source.name, device, source.dtype)
    from comparisons.model.loading import load

    return load(source)


def _check_random(source: ModelSource) -> None:
    """Raises CompareError where more than device and type of a model that is made on the spot is asked for."""
    plain = ModelSource(source.name, device=source.device, dtype=source.dtype)
    for field in fields(source):
        if getattr(source, field.name) != getattr(plain, field.name):
            raise CompareError(
                f"--{field.name.replace('_', '-')} is for a checkpoint: write {source.name} to a folder by --write, "
                "and name that."
            )


def write_subject(source: ModelSource, folder: Path) -> None:
    """Writes a random subject as a folder that every command takes for a model.

    Args:
        source: with the name of one of `SHAPES`, and the type of the weights.
        folder: where to; made where there is none.

    Raises:
        CompareError: the name is none of a random subject, or the folder holds something or can't be made.
        StorageError: the disk refuses.
    """
    name = source.name
    if name not in SHAPES:
        raise CompareError(f"--write makes a random model, and '{name}' is none: use {' or '.join(SHAPES)}.")
    _check_random(source)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CompareError(f"--write {folder}: is there and not empty: name a new folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = TemporaryDirectory(prefix=".", dir=folder.parent)
    except OSError as error:
        raise CompareError(f"the folder {folder} can't be made: {error.strerror}; give --write another.") from error
    try:
        with beside:
            lm = random_llama(SHAPES[name], name, "cpu", source.dtype)
            lm.model.save_pretrained(f"{beside.name}/model")
            lm.tokenizer.save_pretrained(f"{beside.name}/model")
            Path(beside.name, "model").rename(folder)
    except OSError as error:
        raise StorageError(f"{folder} can't be written: {refusal(error)}") from error


def random_llama(shape: Shape, name: str, device: str = "cpu", dtype: str = "auto") -> LM:
    """A Llama with random weights from a fixed seed, built on the device itself, with a tokenizer of its own."""
    import torch
    import transformers

    from comparisons.model.lm import LM

    if (device == "cuda" and not torch.cuda.is_available()) or (
        device == "mps" and not torch.backends.mps.is_available()
    ):
        raise CompareError(f"this machine has no {device} device: use --device cpu.")
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.context,
        initializer_range=shape.spread,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=None,
    )
    chosen = getattr(torch, shape.dtype if dtype == "auto" else dtype)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(SEED)
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=chosen)
    return LM(model, word_tokenizer(shape.vocabulary), name, prompt_format="base")


def word_tokenizer(vocabulary: int) -> Any:
    """A tokenizer of one token a word: what questions and the base prompt format need, and "w0", "w1", …"""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ["<unk>", "<s>", "</s>", "Input", "Response", "Choices", ":", "(", ")", *"ABCDEFGH"]
    words = known + [f"w{i}" for i in range(vocabulary - len(known))]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    # Not named as its unknown token: a tokenizer that knows so little of a question would be refused.
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


def make_items(lm: LM, count: int, tokens: int, seed: int) -> tuple[Item, ...]:
    """Two-choice items of random words whose prompts have a given length.

    Args:
        lm: whose tokenizer counts.
        count: how many.
        tokens: of the prompt with the answer prefix, which is what one pass runs. Exact where the words allow it
            (always with a random subject), and never more.
        seed: of the words.

    Raises:
        CompareError: a question doesn't fit into so few tokens.
    """
    words, generator = _words(lm), random.Random(f"{seed}/{tokens}")
    return tuple(_make_item(lm, index, tokens, words, generator) for index in range(count))


def _make_item(lm: LM, index: int, tokens: int, words: Sequence[str], generator: random.Random) -> Item:
    choices = tuple(" ".join(generator.sample(words, CHOICE_WORDS)) for _ in range(2))
    least = _length(lm, _question((), choices))
    if least > tokens:
        raise _too_short(lm, least, tokens)
    stem = _filled(words, tokens - least, generator, lambda chosen: _length(lm, _question(chosen, choices)) - tokens)
    return _parsed(index, stem, choices)


def _too_short(lm: LM, least: int, tokens: int) -> CompareError:
    more = "give it more by --tokens"
    return CompareError(f"a question of {lm.name} takes {least} tokens or more, not {tokens}: {more}.")


def _filled(
    words: Sequence[str], count: int, generator: random.Random, excess: Callable[[Sequence[str]], int]
) -> list[str]:
    """Random words that come to a number of tokens, of which `excess` says how many are too much."""
    chosen = generator.choices(words, k=count)
    # A tokenizer may cut words into several tokens: drop as many as are too much, then fill what is left.
    while (over := excess(chosen)) > 0:
        chosen = chosen[: -max(1, over // WORD_TOKENS)]
    for word in generator.sample(words, FILLERS) if over < 0 else ():
        if excess([*chosen, word]) <= 0:
            chosen.append(word)
    return chosen


def make_answer_items(lm: LM, count: int, tokens: int, answer: int, seed: int) -> tuple[Item, ...]:
    """Items of random words for the measure by texts: the prompt of a stem, and each of two answers, of a given length.

    Args:
        lm: whose tokenizer counts.
        count: how many.
        tokens: of the prompt, without an answer; as exact as `make_items`.
        answer: tokens of an answer; as exact.
        seed: of the words.

    Raises:
        CompareError: an empty question takes more tokens than that.
    """
    words, generator = _words(lm), random.Random(f"{seed}/{tokens}/{answer}")
    return tuple(_make_answer_item(lm, index, (tokens, answer), words, generator) for index in range(count))


def _make_answer_item(
    lm: LM, index: int, sizes: tuple[int, int], words: Sequence[str], generator: random.Random
) -> Item:
    tokens, answer = sizes

    def prompt(stem: Sequence[str]) -> str:
        return lm.prompt(" ".join(stem))

    least = len(lm.tokenize(prompt(words[:1])))
    if least > tokens:
        raise _too_short(lm, least, tokens)
    stem = _filled(words, tokens, generator, lambda chosen: len(lm.tokenize(prompt(chosen))) - tokens)
    text = prompt(stem)
    whole = len(lm.tokenize(text)) + answer

    def excess(chosen: Sequence[str]) -> int:
        return len(lm.tokenize(f"{text} {' '.join(chosen)}")) - whole

    return _parsed(index, stem, [" ".join(_filled(words, answer, generator, excess)) for _ in range(2)])


def _parsed(index: int, stem: Sequence[str], choices: Sequence[str]) -> Item:
    """An item; every other one matches under the second letter."""
    return Item.parse(f"bench/{index}", _question(stem, choices), *("AB" if index % 2 == 0 else "BA"))


def _words(lm: LM) -> Sequence[str]:
    """Of which prompts are made."""
    numbered = sorted(word for word in lm.tokenizer.get_vocab() if re.fullmatch(r"w\d+", word))
    return numbered if len(numbered) > len(WORDS) else WORDS


def _question(stem: Sequence[str], choices: Sequence[str]) -> str:
    return f"{' '.join(stem)}\n\nChoices:\n (A) {choices[0]}\n (B) {choices[1]}"


def _length(lm: LM, question: str) -> int:
    return len(lm.choice_prompt(question, ("A", "B")).ids)
