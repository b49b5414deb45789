"""A model's tokenizer, with the chat template that belongs to it, wherever the model's files have that."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

FILES = ("chat_template.json", "processor_config.json")
"""Where a processor may have a chat template that its tokenizer hasn't."""

TEMPLATE_FILE = "_compare_template_file"
"""The attribute of a tokenizer that names which of them."""


def read_tokenizer(place: str, **access: Any) -> Any:
    """Loads a tokenizer; one without a chat template gets that of the processor beside it, if any.

    Args:
        place: a folder, or a hub id.
        **access: how a loader of transformers may come to the files.
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **access)
    if not getattr(tokenizer, "chat_template", None) and "gguf_file" not in access:
        file, tokenizer.chat_template = _processors_template(place, access.get("local_files_only", False))
        setattr(tokenizer, TEMPLATE_FILE, file)
    return tokenizer


def template_file(tokenizer: Any) -> str | None:
    """The processor's file that a tokenizer has its chat template of; None where it has its own, or none."""
    file: str | None = getattr(tokenizer, TEMPLATE_FILE, None)
    return file


def _processors_template(place: str, offline: bool) -> tuple[str | None, Any]:
    """The file, and the template or some by name; None where no file has one."""
    from transformers.utils import cached_file

    for name in FILES:
        path = cached_file(
            place,
            name,
            local_files_only=offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
        if path is None:
            continue
        with open(path, encoding="utf-8") as file:
            read = json.load(file)
        found = read.get("chat_template") if isinstance(read, dict) else None
        if isinstance(found, str | dict) and found:
            warn_once(f"the tokenizer of {place} has no chat template: that of its processor, {name}, is used.")
            return name, found
    return None, None


@cache
def warn_once(text: str) -> None:
    """Warns once, however often a model or its tokenizer is read."""
    log.warning("%s", text)
