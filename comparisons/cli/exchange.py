"""`compare vectors import` and `export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.cli.options import JSON, LAYERS, one_model
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.vectors.fit import Fitted


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER|hub:ORG/NAME…")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write.")
@LAYERS
@click.option("--behavior", help="Its name, where the files don't tell it.")
@one_model("Check that they fit; loads no weights.", default=None)
@JSON
def import_(
    files: tuple[Path, ...], out: Path, layers: str, behavior: str | None, model: str | None, as_json: bool
) -> None:
    """Bring in the paper's vec_layer_N_MODEL.pt, a GGUF control vector, a steered model's .pt, or shared vectors.

    \b
    Examples:
      compare vectors import CAA/vectors/refusal --out refusal.safetensors --model meta-llama/Llama-2-7b-chat-hf
      compare vectors import happy.gguf --out happy.safetensors
      compare vectors import hub:me/refusal-vector --out refusal.safetensors
    """
    from comparisons.method.vector_files import check_path, save_vectors
    from comparisons.model.loading import load_without_weights
    from comparisons.model.source import ModelSource
    from comparisons.util.layers import layer_parts, layers_among
    from comparisons.vectors.exchange import read_foreign
    from comparisons.vectors.fit import Fitted

    parts = layer_parts(layers)
    check_path(out)
    lm = None if model is None else load_without_weights(ModelSource(model))
    found = read_foreign(files, behavior, lm)
    found = found.only(layers_among(parts, found.layers, str(files[0])))
    save_vectors(out, found)
    show_fitted([Fitted(found, out, None, None)], as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "kind", type=click.Choice(["gguf", "lm-eval"]), required=True, help="For which program.")
@click.option("--layers", required=True, metavar="N|A-B|all", help="Where to add: all of these layers at once.")
@click.option("--multiplier", type=float, default=1.0, show_default=True, help="Of the vectors; negative for less.")
@click.option("--hookpoint", metavar="PATH", help="lm-eval: where the blocks are, if the file doesn't tell.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .gguf or .pt file to write.")
def export(file: Path, kind: str, layers: str, multiplier: float, hookpoint: str | None, out: Path) -> None:
    """Write a control vector for llama.cpp, or what a steered model of lm-evaluation-harness reads.

    Both add at every token, this program from the last prompt token on.

    \b
    Examples:
      compare vectors export refusal.safetensors --to gguf --layers 13 --out refusal.gguf
      compare vectors export refusal.safetensors --to lm-eval --layers 13 --multiplier -1 --out refusal.pt
    """
    from comparisons.util.layers import layer_parts
    from comparisons.vectors.exchange import export_vectors

    for note in export_vectors(file, kind, layer_parts(layers), multiplier, hookpoint, out):
        say(f"vectors: {note}")
    click.echo(out)


def show_fitted(found: list[Fitted], as_json: bool) -> None:
    """Prints what files of vectors were written."""
    from comparisons.vectors.fit import fitted_records, fitted_table

    if as_json:
        click.echo(json.dumps(fitted_records(found)))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    console.print(rich_table(fitted_table(found), console.width))
    for fitted in found:
        for path in (fitted.path, fitted.activations):
            if path is not None:
                click.echo(path)
