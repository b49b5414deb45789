"""To and from the Hugging Face hub, or a server of its kind at HF_ENDPOINT."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from comparisons.util.errors import CompareError, described

INTERVENTION, EDITS, VECTORS = "intervention.json", "edits.safetensors", "vectors.safetensors"
SHARED = ("*.safetensors", "*.json", "*.md")
"""What is uploaded and what is brought in: nothing that could run code."""

PREFIX = "hub:"
"""Begins a place on the hub where a path could stand: hub:ORG/NAME or hub:ORG/NAME@REVISION."""

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
Result = TypeVar("Result")


def check_name(name: str) -> str:
    """The name itself; raises CompareError unless it is ORG/NAME."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise CompareError(f"'{name}' is no repository of the hub: write ORG/NAME.")
    return name


def upload(folder: Path, name: str, private: bool) -> str:
    """Makes the repository where there is none, and uploads a folder in one commit; returns its address.

    Raises:
        CompareError: the hub refuses, or can't be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()

    def work() -> str:
        api.create_repo(check_name(name), private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=list(SHARED),
            commit_message="Share an intervention and what it was measured to do",
        )
        return str(commit.commit_url)

    return _ask(work, name)


def download(place: str) -> Path:
    """Brings a shared repository into the hub's cache on this machine, and returns its folder.

    Args:
        place: hub:ORG/NAME or hub:ORG/NAME@REVISION.

    Raises:
        CompareError: there is none, it may not be read, or the hub can't be reached.
    """
    from huggingface_hub import snapshot_download

    name, _, revision = place.removeprefix(PREFIX).partition("@")
    check_name(name)
    return Path(_ask(lambda: snapshot_download(name, revision=revision or None, allow_patterns=list(SHARED)), name))


def local_folder(place: str) -> Path:
    """A folder as it is; of a place on the hub the folder brought to this machine, see `download`."""
    return download(place) if place.startswith(PREFIX) else Path(place)


def vectors_file(folder: Path, place: str) -> Path:
    """The file of vectors in a shared folder; raises CompareError where it has none."""
    for file in (VECTORS, EDITS):
        if (folder / file).is_file():
            if file == VECTORS:
                return folder / file
            raise CompareError(f"{place} holds edits that are no plain vectors: its {INTERVENTION} says what they are.")
    raise CompareError(f"{place} holds no vectors: there is no {VECTORS} in it.")


def _ask(work: Callable[[], Result], name: str) -> Result:
    """What the hub gives; one line where it doesn't."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    errors: tuple[Any, ...] = (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError)
    try:
        return work()
    except GatedRepoError as error:
        raise CompareError(f"hub:{name} is gated: ask for access on its page and set HF_TOKEN.") from error
    except RepositoryNotFoundError as error:
        raise CompareError(f"hub:{name}: there is no such repository, or HF_TOKEN may not see it.") from error
    except errors as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise CompareError(f"hub:{name}: set HF_TOKEN to a token that may write there ({status}).") from error
        raise CompareError(f"hub:{name} can't be reached: {described(error)}") from error
