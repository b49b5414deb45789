"""What can be wrong with a model's files that loads all the same: each refused in one line, before anything is run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons.model.copies import Loaded
from comparisons.util.errors import CompareError

log = logging.getLogger(__name__)

ADAPTER = "adapter_config.json"
"""In a folder of an adapter of PEFT's."""

QUANTIZED = {"Linear8bitLt": "CB", "Linear4bit": "quant_state"}
"""Modules of bitsandbytes', and what their weights have once they are quantized."""

NAMED = 3
"""Of what is too much so many are named."""


def check_no_adapter(folder: Path, gguf: bool = False) -> None:
    """Raises CompareError where a model's folder has an adapter's files.

    Loaders of transformers put it on the model unsaid, and it would be a part of the baseline.

    Args:
        folder: where the model is.
        gguf: whether it is a GGUF file, beside which loaders look for an adapter too.
    """
    if not (folder / ADAPTER).is_file():
        return
    if gguf or (folder / "config.json").is_file():
        raise CompareError(
            f"the model folder '{folder}' has an adapter beside its weights ({ADAPTER}), which would be on the model "
            "unsaid: move the adapter's files away, to use it by --set sft.adapter_from=FOLDER, or merge it into the "
            "weights."
        )
    raise CompareError(
        f"the folder '{folder}' is an adapter, no model: name its base model by --model, and use the adapter by "
        f"--methods sft:pos --set sft.adapter_from={folder}."
    )


def hub_adapter(name: str) -> CompareError:
    """The same of a name on the hub, of which a loader would take the adapter's base model and put the adapter on."""
    return CompareError(
        f"{name} holds an adapter on the hub ({ADAPTER}), which would be on its base model unsaid: name the base model "
        f"by --model, and use the adapter by --methods sft:pos --set sft.adapter_from=hub:{name}."
    )


def warn_of_another_model(what: str, made_on: str | None, name: str) -> None:
    """Warns where something that was made on one model is used on another of its shape, going by their names' ends."""
    if made_on and Path(made_on).name.lower() != Path(name).name.lower():
        log.warning("%s was made on %s and is used on %s.", what, made_on, name)


def stored_quantization(config: Any) -> str | None:
    """How the weights of a checkpoint are quantized, as "gptq 4bit"; None where they aren't.

    Args:
        config: its configuration, as transformers has it or as a mapping.
    """
    for part in (config, _field(config, "text_config")):
        found = _field(part, "quantization_config") or _field(part, "compression_config")
        if found:
            method = _field(found, "quant_method") or "by a method that it doesn't name"
            bits = _field(found, "bits") or next((b for b in (4, 8) if _field(found, f"load_in_{b}bit")), None)
            return f"{getattr(method, 'value', method)}{f' {bits}bit' if bits else ''}"
    return None


def _field(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def check_quantize(name: str, wanted: str | None, config: Any) -> None:
    """Raises CompareError where a checkpoint that is quantized already is to be quantized.

    Loaders of transformers leave it as it is, unsaid.
    """
    stored = stored_quantization(config)
    if wanted is not None and stored is not None:
        raise CompareError(
            f"--quantize {wanted} is not for {name}, whose weights are quantized already ({stored}): leave it out."
        )


WHOLE = 0.1
"""Share of the blocks' weights up to which it goes without saying that norms and such aren't quantized."""


def notes(name: str, wanted: str | None, blocks: Iterable[Any], config: Any) -> tuple[str, ...]:
    """What must be known of how a model was loaded and runs, a line each; for the arguments see `left_whole`."""
    return (*left_whole(name, wanted, blocks), *_looped(name, config))


def left_whole(name: str, wanted: str | None, blocks: Iterable[Any]) -> tuple[str, ...]:
    """A line where much of a model stays as it was under --quantize: experts, which loaders leave alone unsaid.

    Args:
        name: of the model.
        wanted: how it was to be quantized.
        blocks: its decoder blocks.
    """
    left, quantized = Counter[str](), 0
    for block in blocks if wanted else ():
        for path, module in block.named_modules():
            if type(module).__name__ in QUANTIZED:
                quantized += module.in_features * module.out_features
                continue
            for each, parameter in module.named_parameters(recurse=False):
                left[f"{path}.{each}"] += parameter.numel()
    share = left.total() / max(1, left.total() + quantized)
    if share <= WHOLE:
        return ()
    largest = left.most_common(1)[0][0]
    return (
        f"--quantize {wanted} leaves {share:.0%} of the weights in the blocks of {name} as they are, {largest} "
        "foremost: bitsandbytes quantizes linear modules, and no experts that are kept in one tensor.",
    )


def _looped(name: str, config: Any) -> tuple[str, ...]:
    """A line where a model runs some of its blocks several times in one pass (Dory), and an edit acts as often."""
    loops = getattr(config, "n_recurrent_loops", None) or 1
    if loops == 1:
        return ()
    return (f"{name} runs some of its blocks {loops} times a pass: what is added to one of them is added each time.",)


def check_templates(tokenizer: Any, name: str) -> None:
    """Raises CompareError where a tokenizer has chat templates by name and none of them is the default."""
    templates = getattr(tokenizer, "chat_template", None)
    if isinstance(templates, Mapping) and "default" not in templates:
        raise CompareError(
            f"the tokenizer of {name} has chat templates called {_some(templates)}, and none is the default: use "
            "--prompt-format base, or save the one that is meant as its chat_template.jinja."
        )


def check_vocabulary(tokenizer: Any, name: str, embeddings: int, prompt: Iterable[int]) -> None:
    """Raises CompareError where a tokenizer has tokens for which the model has no embedding.

    A special one that no prompt brings, as of images or for padding, does no harm.

    Args:
        tokenizer: the model's.
        name: of the model.
        embeddings: how many the model has.
        prompt: the tokens of some prompt.
    """
    added, asked = getattr(tokenizer, "added_tokens_decoder", {}), {*prompt}
    beyond = {token: i for token, i in tokenizer.get_vocab().items() if i >= embeddings}
    harmful = [token for token, i in beyond.items() if i in asked or not (i in added and added[i].special)]
    if harmful:
        raise CompareError(
            f"the tokenizer of {name} has {len(beyond)} tokens more than the model has embeddings ({embeddings}), as "
            f"{_some(sorted(harmful, key=beyond.__getitem__))}: take the tokenizer that belongs to it, or resize its "
            "embeddings and save it."
        )


def check_weights(name: str, loaded: Loaded) -> None:
    """Warns of weights of other parts that the files lack, and of those of blocks that the model has no place for.

    Raises:
        CompareError: the files lack a weight of what reads and writes text, which would be random, or most of the
            model; or its weights aren't quantized as they are said to be.
    """
    from torch.nn import ModuleList

    missing, weights = loaded.missing, len(loaded.model.state_dict())
    parts = _text_parts(loaded.model)
    asked = [weight for weight in missing if not parts or weight.startswith(parts)]
    if asked or len(missing) * 2 > weights:
        called = f", and call theirs otherwise, as {loaded.unplaced[0]}" if loaded.unplaced else ""
        raise CompareError(
            f"can't load the model {name}: its files lack {len(missing)} of its {weights} weights, "
            f"{(asked or missing)[0]} first{called}: take the files that belong to its config.json."
        )
    if missing:
        several = f"{len(missing)} weights are" if len(missing) > 1 else "1 weight is"
        log.warning(
            "the files of %s are incomplete: %s missing, %s first, and random instead; what reads and writes text is "
            "there.",
            *(name, several, missing[0]),
        )
    if whole := [path for path, each in loaded.model.named_modules() if _is_whole(each)]:
        raise CompareError(
            f"the config.json of {name} says that its weights are quantized by bitsandbytes, and they aren't, as "
            f"{whole[0]}: take its quantization_config out."
        )
    # Others are of towers that aren't loaded.
    lists = tuple(f"{path}." for path, each in loaded.model.named_modules() if isinstance(each, ModuleList))
    if unplaced := [weight for weight in loaded.unplaced if weight.startswith(lists)]:
        log.warning(
            "the files of %s hold %d weights of blocks that the model of its config.json has no place for, %s first: "
            "they are left out.",
            *(name, len(unplaced), unplaced[0]),
        )


def _text_parts(model: Any) -> tuple[str, ...]:
    """The beginnings of the names of all weights of the text's decoder and of the output layer."""
    parts = [getattr(model, name)() for name in ("get_decoder", "get_output_embeddings") if hasattr(model, name)]
    return tuple(f"{path}." for path, each in model.named_modules() if path and any(each is part for part in parts))


def _is_whole(module: Any) -> bool:
    """Whether a module of bitsandbytes' has a weight that isn't quantized."""
    mark = QUANTIZED.get(type(module).__name__)
    return mark is not None and not hasattr(module.weight, mark)


def check_known(tokenizer: Any, name: str, prompt: Sequence[int]) -> None:
    """Raises CompareError where a tokenizer has no tokens for most of a prompt, in whose place the model reads one.

    Args:
        tokenizer: the model's.
        name: of the model.
        prompt: the tokens of an English text.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    if (lost := sum(token == unknown for token in prompt)) * 2 > len(prompt):
        raise CompareError(
            f"the tokenizer of {name} knows {len(prompt) - lost} of {len(prompt)} tokens of a question in English: "
            "take the tokenizer's files that the model was trained with."
        )


SHAPING: Mapping[str, float | None] = {
    **dict.fromkeys(("encoder_repetition_penalty", "guidance_scale", "num_beams"), 1),
    **dict.fromkeys(("encoder_no_repeat_ngram_size", "min_length", "min_new_tokens"), 0),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias", "stop_strings")),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty")),
    **dict.fromkeys(("penalty_alpha", "dola_layers", "watermarking_config")),
}
"""What a generation configuration may hold that has `model.generate` take another than the likeliest token, and the
number that stands there where it does nothing; None or an empty list does nothing either."""


def shaping(config: Any) -> list[str]:
    """What of a model's generation configuration would shape greedy answers, as "repetition_penalty=1.1"."""
    found = {name: getattr(config, name, None) for name in SHAPING}
    return [f"{name}={value}" for name, value in found.items() if value not in (None, [], SHAPING[name])]


def _some(names: Iterable[str]) -> str:
    every = [repr(name) for name in names]
    return ", ".join(every[:NAMED]) + (", …" if len(every) > NAMED else "")
