"""What `compare trace` and `compare lens` share: their options, the model, and the vectors to look along."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from comparisons.cli.options import LOADING, READ, Command, Option, declared_option, model_source, one_model, options
from comparisons.model.source import data_for
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from rich.console import Console

    from comparisons.interpret.groups import GroupTrace
    from comparisons.interpret.lens import Lens
    from comparisons.interpret.query import ModelQuery
    from comparisons.interpret.trace import Trace

Result = TypeVar("Result", "Trace", "GroupTrace", "Lens")

_MODEL: tuple[str | Option, ...] = (
    one_model("On which model."),
    "data",
    click.option("--behavior", metavar="NAME", help="Whose items to read, and on whose pairs to fit the vectors."),
    declared_option("train_items", help="Contrast pairs to fit on; all by default."),
    click.option(
        "--vectors", type=click.Path(path_type=Path), metavar="FILE", help="Safetensors with layer_0, layer_1, …"
    ),
    READ,
    click.option("--system", metavar="TEXT", help="A system prompt to read with."),
)
_LOADING: tuple[str | Option, ...] = (
    *LOADING,
    declared_option("seed", help="Of the subset that --train-items draws."),
    click.option("--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a picture."),
    click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead."),
)


def inside_options(*further: Option) -> Callable[[Command], Command]:
    """The command's own options, between what is looked at and how it is loaded."""
    return options(*_MODEL, *further, *_LOADING)


def query_of(given: Mapping[str, Any]) -> ModelQuery:
    """What the shared options say."""
    from comparisons.interpret.query import ModelQuery

    names = ("behavior", "train_items", "vectors", "read", "system", "seed")
    source = model_source(given)
    return ModelQuery(source, data_for(given["data"], [source]), **{name: given[name] for name in names})


def deliver(
    result: Result, show: Callable[[Result, Console], None], draw: Callable[[], bytes], png: Path | None, as_json: bool
) -> None:
    """Prints a result, as JSON or for people, and writes its picture where one is asked for."""
    from comparisons.cli.tables import stdout

    if as_json:
        click.echo(json.dumps(result.to_json()))
    else:
        show(result, stdout())
    if png is not None:
        write_file(png, draw(), as_json)


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
