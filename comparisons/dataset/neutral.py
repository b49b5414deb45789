"""Neutral prompts: requests that no behavior has a say in, by which is told what else a change does to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from comparisons.dataset.items import OpenPrompt
from comparisons.dataset.packaged import ENGLISH, POCKET, place_of
from comparisons.dataset.records import read_prompts
from comparisons.util.errors import CompareError

NEUTRAL_PATH = "neutral/prompts.json"
LEAST = 2
"""Of each part."""


@dataclass(frozen=True)
class NeutralPrompts:
    """The prompts of some data, every second one held out to choose by.

    Attributes:
        source: the file.
        dev: to choose by.
        test: to measure on.
    """

    source: Path
    dev: Sequence[OpenPrompt]
    test: Sequence[OpenPrompt]

    def part(self, split: Literal["dev", "test"]) -> Sequence[OpenPrompt]:
        """Those to choose by, or those to measure on."""
        return self.dev if split == "dev" else self.test


def neutral_prompts(data: Path | None, embedded: bool) -> NeutralPrompts:
    """The neutral prompts of some data; where these have none, those that come with the package for the model.

    Args:
        data: a folder or file, or a name, as of `--data`.
        embedded: whether the model is the embedded one, which has a language of its own.

    Raises:
        CompareError: the file can't be read, or holds fewer than two prompts a part.
    """
    own = None if data is None else place_of(data) / NEUTRAL_PATH
    return _read(own if own is not None and own.is_file() else place_of(POCKET if embedded else ENGLISH) / NEUTRAL_PATH)


@cache
def _read(file: Path) -> NeutralPrompts:
    prompts = [replace(prompt, id=f"neutral/{place}") for place, prompt in enumerate(read_prompts(file))]
    if len(prompts) < 2 * LEAST:
        raise CompareError(f"{file}: holds {len(prompts)} neutral prompts: at least {2 * LEAST} are needed.")
    return NeutralPrompts(file, prompts[::2], prompts[1::2])
