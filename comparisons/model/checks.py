"""What can be wrong with a model's files that loads all the same: each refused in one line, before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from comparisons.util.errors import CompareError

ADAPTER = "adapter_config.json"
"""In a folder of an adapter of PEFT's."""

NAMED = 3
"""Of what is too much so many are named."""


def check_no_adapter(folder: Path) -> None:
    """Raises CompareError where a model's folder has an adapter's files.

    Loaders of transformers put it on the model unsaid, and it would be a part of the baseline.
    """
    if not (folder / ADAPTER).is_file():
        return
    if (folder / "config.json").is_file():
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
