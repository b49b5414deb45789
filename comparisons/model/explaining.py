"""What loaders of models raise, in one line."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from comparisons.model.source import GGUF
from comparisons.util.errors import CompareError

UNKNOWN_TYPE = re.compile(r"has model type `([^`]*)` but Transformers does not recognize")
LONGEST = 300
"""Characters of what a loader says, where no line of this program's own is better."""

POINTER = b"version https://git-lfs"
"""What a file begins with that Git has in place of a large one."""


def explained(name: str, error: Exception, location: str = "") -> CompareError:
    """One line for what a loader of transformers, or the hub's, raised.

    Args:
        name: of the model, as the user wrote it.
        error: what was raised.
        location: what was read.
    """
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    causes: list[BaseException] = [error]
    while causes[-1].__cause__ or causes[-1].__context__:
        causes.append(causes[-1].__cause__ or causes[-1].__context__)  # type: ignore[arg-type]
    text = " ".join(str(error).split())
    if location.endswith(GGUF):
        return _unreadable(name, text)
    if "Weights only load failed" in text:
        return CompareError(
            f"the weights of {name} are in a file that holds more than tensors, whose reading could run code: take the "
            "model in safetensors."
        )
    if "ignore_mismatched_sizes" in text:
        return CompareError(
            f"the weights of {name} have other sizes than its config.json says: take all of its files from one source."
        )
    if any(isinstance(cause, GatedRepoError) for cause in causes) or "gated repo" in text:
        return CompareError(
            f"the model {name} is gated: ask for access on its page at huggingface.co, then put HF_TOKEN=… in .env."
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return CompareError(f"the hub knows no model {name}: check the spelling; a private one needs HF_TOKEN in .env.")
    if "trust_remote_code" in text:
        return CompareError(
            f"the model {name} comes with code of its own, which was not run: read it, and if you trust it, add "
            "--trust-remote-code."
        )
    if unknown := UNKNOWN_TYPE.search(text):
        return CompareError(
            f"can't load the model {name}: transformers {version('transformers')} knows no models of type "
            f"{unknown[1]}: update transformers, or take another model."
        )
    offline = any(isinstance(cause, (LocalEntryNotFoundError, ConnectionError)) for cause in causes)
    if offline or "connect" in text.lower() or "offline" in text.lower():
        return CompareError(
            f"can't reach the hub for {name}: check the network, or give --model a local folder of the model."
        )
    fault = _damage(Path(location)) if location and Path(location).is_dir() else ""
    return CompareError(f"can't load the model {name}: {f'{fault}.' if fault else _shortened(text)}")


def _shortened(text: str) -> str:
    """A text of at most so many characters, whose last word is whole."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} …"


def _damage(folder: Path) -> str:
    """What is wrong with a file of a model's folder; empty where all can be read."""
    import safetensors

    for path in sorted(folder.iterdir()):
        with suppress(OSError):
            if path.open("rb").read(len(POINTER)) == POINTER:
                return f"{path.name} is no more than a pointer of Git LFS: run git lfs pull in its folder"
            try:
                if path.suffix == ".json":
                    json.loads(path.read_bytes())
                if path.suffix == ".jinja":
                    path.read_text(encoding="utf-8")
                if path.suffix == ".safetensors":
                    safetensors.safe_open(path, "np")
            except (ValueError, safetensors.SafetensorError):
                return f"{path.name} is damaged or cut off: take it from its source again"
    return ""


def _unreadable(name: str, text: str) -> CompareError:
    """The line about a GGUF file that is at hand."""
    if "controlvector" in text:
        return CompareError(
            f"the file {name} holds control vectors and no model: compare vectors import {name} --out FILE reads them."
        )
    if "is not supported" in text:
        return CompareError(f"transformers reads no such file as {name}: {_shortened(text)}")
    return CompareError(
        f"can't load the model {name}: {_shortened(text).rstrip('.')}; where the file is cut off or damaged, take it "
        "from its source again."
    )
