"""Which class of transformers makes a model of a configuration, so that it reads text and writes it."""

from __future__ import annotations

from typing import Any

from comparisons.util.errors import CompareError

TEXT_ALONE = ("gemma3n",)
"""Families of images and text of whose files transformers reads the text part alone: the towers of these need other
packages."""


def is_text_part(config: Any) -> bool:
    """Whether a model's configuration may be that of the text part alone of what its files hold."""
    return str(config.model_type).removesuffix("_text") in TEXT_ALONE


def each_layer(config: Any) -> list[Any]:
    """What a configuration says of each block: those of some families have sizes of their own."""
    return [*config.per_layer_config] if getattr(config, "is_heterogeneous", False) else [config]


def auto_class(name: str, config: Any, own_code: bool) -> tuple[Any, Any]:
    """The auto class that makes a model, and the configuration that it is given.

    The class is one of text where the family has such, else one of images and text, which is asked with text alone: its
    image tower is loaded and never run.

    Args:
        name: of the model, for messages.
        config: the model's configuration.
        own_code: whether code that comes with the model may be run.

    Raises:
        CompareError: it doesn't write on from a text; the line says what it is.
    """
    import transformers

    what = f"can't load the model {name}: a model of type {config.model_type}"
    other = "take a decoder-only language model."
    try:
        text = config.get_text_config()
    except ValueError as error:
        raise CompareError(f"{what} has more parts than one that read text; {other}") from error
    crossed = getattr(text, "cross_attention_layers", None)
    if any(getattr(part, "is_encoder_decoder", False) for part in (config, text)):
        raise CompareError(f"{what} has an encoder, and what is compared here writes on from the text itself; {other}")
    masked = type(text) in transformers.AutoModelForMaskedLM._model_mapping
    if masked and getattr(text, "is_decoder", None) is False:
        raise CompareError(f"{what} reads texts in both directions (is_decoder is false), and writes none; {other}")
    if crossed:
        raise CompareError(f"{what} has blocks that run for images alone ({', '.join(map(str, crossed))}); {other}")
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}) and own_code:
        return transformers.AutoModelForCausalLM, config
    config = text if config.model_type in TEXT_ALONE else config
    for kind in (transformers.AutoModelForCausalLM, transformers.AutoModelForImageTextToText):
        if type(config) in kind._model_mapping:
            return kind, config
    raise CompareError(f"{what} is none that transformers has a class for that writes text; {other}")
