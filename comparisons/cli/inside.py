"""What `compare trace` and `compare lens` share: their options, the model, and the vectors to look along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import LOADING, Command, Option, declared_option, model_source, one_model, options
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import Item
    from comparisons.method.vector_files import Vectors
    from comparisons.model.lm import LM
    from comparisons.model.source import ModelSource

_MODEL: tuple[str | Option, ...] = (
    one_model("On which model."),
    "data",
    click.option("--behavior", metavar="NAME", help="Whose items to read, and on whose pairs to fit the vectors."),
    declared_option("train_items", help="Contrast pairs to fit on; all by default."),
    click.option(
        "--vectors", type=click.Path(path_type=Path), metavar="FILE", help="Safetensors with layer_0, layer_1, …"
    ),
    click.option("--system", metavar="TEXT", help="A system prompt to read with."),
)
_LOADING: tuple[str | Option, ...] = (
    *("prompt_format", *LOADING),
    declared_option("seed", help="Of the subset that --train-items draws."),
    click.option("--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a picture."),
    click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead."),
)


def inside_options(*own: Option) -> Callable[[Command], Command]:
    """The command's own options, between what is looked at and how it is loaded."""
    return options(*_MODEL, *own, *_LOADING)


@dataclass(frozen=True)
class ModelQuery:
    """What the shared options stand for; the model is loaded once the rest has been checked."""

    source: ModelSource
    data: Path | None
    behavior: str | None
    train_items: int | None
    vectors: Path | None
    system: str | None
    seed: int

    def load(self) -> LM:
        """The model."""
        from comparisons.model.loading import load

        return load(self.source)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ModelQuery:
        """What the options say."""
        own = {name: given[name] for name in ("data", "behavior", "train_items", "vectors", "system", "seed")}
        return cls(model_source(given), **own)

    def find_behavior(self) -> Behavior | None:
        """The behavior that is named, if one is."""
        from comparisons.dataset.behaviors import Library
        from comparisons.util.errors import CompareError

        if self.train_items is not None and self.train_items < 1:
            raise CompareError(f"--train-items must be at least 1, not {self.train_items}.")
        if self.behavior is None:
            return None
        return Library.open(self.data).behavior(self.behavior).limited(self.train_items, None, self.seed)

    def find_vectors(self, lm: LM, behavior: Behavior | None) -> tuple[Vectors, str]:
        """Vectors by layer, and what they are in words: those of the file, or fitted on the behavior."""
        from comparisons.interpret.directions import fitted_vectors, vectors_of_file
        from comparisons.util.errors import CompareError

        if self.vectors is not None:
            return vectors_of_file(lm, self.vectors)
        if behavior is None:
            raise CompareError("no vectors: name a --behavior to fit them on, or a file by --vectors.")
        return fitted_vectors(lm, behavior), f"the {behavior.name} vectors (mean differences)"


def find_item(behavior: Behavior | None, place: int) -> Item:
    """A test item by its place, from 0."""
    from comparisons.util.errors import CompareError

    if behavior is None:
        raise CompareError("--item is an item of a behavior: name it by --behavior.")
    if not 0 <= place < len(behavior.test):
        raise CompareError(
            f"--item {place} is out of range: {behavior.name} has test items 0 to {len(behavior.test) - 1}."
        )
    return behavior.test[place]


def write_file(path: Path, data: bytes, quiet: bool) -> None:
    """Writes an output file whole, and says where."""
    from comparisons.util.errors import CompareError
    from comparisons.util.files import write_bytes

    try:
        write_bytes(path, data)
    except OSError as error:
        raise CompareError(f"{path}: can't be written: {error.strerror}.") from error
    (say if quiet else click.echo)(f"written: {path}")


def check_folder(*paths: Path | None) -> None:
    """Raises CompareError where a file that is asked for has no folder, before the model runs."""
    from comparisons.util.errors import CompareError

    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise CompareError(f"{path}: there is no folder {path.parent}.")
