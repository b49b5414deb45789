"""Copies of GGUF files in the form that loads fast: safetensors, tokenizer.json and config.json.

transformers parses the header of such a file several times and takes its blocks apart in Python, at every load. A copy
is an artifact like any other: made once by one process, sealed by checksums, checked before it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from comparisons.model.fingerprint import tensor_digest, tokenizer_digest
from comparisons.util.artifacts import CHECKPOINTS, MANIFEST, Store
from comparisons.util.errors import CompareError, StorageError
from comparisons.util.files import read_sealed, remembered_digest
from comparisons.util.plugins import package_version

KIND = "gguf"
LARGEST = 2**30
"""Bytes of the largest file that is copied: the copy has 4 bytes a weight, eight times as much as a file of 4 bits."""

VERSIONS = ("gguf", "tokenizers", "torch", "transformers")
"""Packages that read such a file."""

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """What transformers has loaded.

    Attributes:
        model: a causal language model.
        tokenizer: its tokenizer.
        missing: names of the weights that the files lack, which are random.
        unplaced: names of the weights that the files have, and the model has no place for.
    """

    model: Any
    tokenizer: Any
    missing: Sequence[str]
    unplaced: Sequence[str] = ()


def find_copy(file: Path) -> Path | None:
    """The folder of a file's copy, None where there is none that is whole."""
    if file.stat().st_size > LARGEST:
        return None
    found = Store(CHECKPOINTS).find(KIND, _parts(file))
    return None if found is None else _usable(found.path)


def make_copy(file: Path, load: Callable[[Path], Loaded]) -> Path | None:
    """The folder of a file's copy, made now where there is none.

    Args:
        file: the GGUF file.
        load: loads what is at a place, the file or a copy's folder, in float32.

    Returns:
        None where the file is too large, the disk refuses, or the copy would not be the same model to the bit.

    Raises:
        CompareError: the file can't be read.
    """

    def make(out: Path) -> None:
        with parsed_once():
            read = load(file)
        read.model.save_pretrained(out)
        read.tokenizer.save_pretrained(out)
        if read.missing or _facts(load(out)) != _facts(read):
            log.warning("%s has no exact copy that would load faster: it is read as it is.", file)
            for path in out.iterdir():
                path.unlink()

    if file.stat().st_size > LARGEST:
        return None
    try:
        return _usable(Store(CHECKPOINTS).get(KIND, _parts(file), make).path)
    except StorageError as refused:
        log.warning("%s is read as it is, which takes longer than a copy would: %s", file, refused)
        return None


@contextmanager
def parsed_once() -> Iterator[None]:
    """Has each GGUF file's header parsed once, and the names of its tensors mapped once.

    transformers does the first for the configuration, the tokenizer and the weights, and the second for each module:
    half of what a load takes.
    """
    import gguf

    names = ("GGUFReader", "get_tensor_name_map")
    before = {name: getattr(gguf, name) for name in names if hasattr(gguf, name)}
    vars(gguf).update({name: cache(each) for name, each in before.items()})
    try:
        yield
    finally:
        vars(gguf).update(before)


def is_outdated(folder: Path) -> bool:
    """Whether an artifact's folder is a copy that other versions of the packages made, which these don't use."""
    if not folder.name.startswith(f"{KIND}-"):
        return False
    try:
        parts = read_sealed(folder / MANIFEST, "artifact")["parts"]
        return set(parts) == {"file", "versions"} and parts["versions"] != _versions()
    except (CompareError, KeyError, TypeError):
        return False


def _usable(folder: Path) -> Path | None:
    return folder if (folder / "config.json").exists() else None


def _parts(file: Path) -> dict[str, Any]:
    return {"file": remembered_digest(file), "versions": _versions()}


def _versions() -> dict[str, str | None]:
    return {package: package_version(package) for package in VERSIONS}


def _facts(loaded: Loaded) -> tuple[object, ...]:
    """All that the numbers of a model depend on."""
    model, tokenizer = loaded.model, loaded.tokenizer
    sides = tokenizer.padding_side, tokenizer.truncation_side
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    settings = [
        {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
        for config in (model.config, model.generation_config)
    ]
    return tensor_digest(model), tokenizer_digest(tokenizer), sides, special, settings
