"""`compare vectors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import (
    JSON,
    LAYERS,
    LOADING,
    READ,
    declared_option,
    model_source,
    one_model,
    options,
    without_model,
)
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.vectors.fit import Fitted
    from comparisons.vectors.looking import Look

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
LOOK_OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of pictures and CSV; by default the first file's."
)


@click.group("vectors")
def command() -> None:
    """Steering vectors as files: fit, normalize, compare, look into, bring in and out.

    \b
    Example:
      compare vectors fit --behavior all --save-activations --out my_vectors
      compare vectors diagnose my_vectors/activations/refusal.safetensors
      compare vectors similarity my_vectors/refusal.safetensors
    """


@command.command()
@options(
    "behavior",
    one_model("On which model."),
    "data",
    LAYERS,
    READ,
    click.option("--save-activations", is_flag=True, help="Write the contrast activations too."),
    declared_option("train_items", type=click.IntRange(min=1), help="Pairs to use; all by default."),
    declared_option("seed", help="Of the choice among pairs."),
    click.option("--out", type=click.Path(path_type=Path), help="Folder; by default checkpoints/vectors/MODEL."),
    *LOADING,
    JSON,
)
def fit(
    behavior: tuple[str, ...],
    data: Path | None,
    layers: str,
    read: Any,
    save_activations: bool,
    train_items: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
    **loading: Any,
) -> None:
    """Fit mean-difference vectors at all layers, in one pass over the contrast pairs of each behavior.

    Writes BEHAVIOR.safetensors: a tensor layer_N [width] for each layer, and where it is from.

    \b
    Examples:
      compare vectors fit --behavior refusal
      compare vectors fit --behavior all --layers 8-20 --model meta-llama/Llama-2-7b-hf --prompt-format base
    """
    from comparisons.dataset.packaged import described
    from comparisons.model.loading import load
    from comparisons.model.source import data_for
    from comparisons.util.layers import layer_parts
    from comparisons.vectors.fit import fit_files, read_behaviors

    parts = layer_parts(layers)
    source = model_source(loading)
    data = data_for(data, [source])
    behaviors = read_behaviors(data, () if behavior == ("all",) else behavior, train_items, seed)
    folder, lm = out or Path("checkpoints/vectors", Path(source.name).name), load(source)
    written = []
    for fitted in fit_files(lm, behaviors, parts, folder, save_activations, read):
        say(f"vectors: {fitted.vectors.origin.behavior} fitted, of {described(data)}")
        written.append(fitted)
    _show_fitted(written, as_json)


@command.command()
@FILES
@click.option("--out", type=click.Path(path_type=Path), help="Folder; by default normalized/ beside the first file.")
@JSON
def normalize(files: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Scale several behaviors' vectors at each layer to the mean of their norms.

    \b
    Example:
      compare vectors normalize checkpoints/vectors/pocket/*.safetensors
    """
    from comparisons.method.vector_files import load_vectors, save_vectors
    from comparisons.vectors.fit import Fitted
    from comparisons.vectors.similarity import normalized, targets

    made = normalized({str(path): load_vectors(path) for path in files})
    written = []
    for path, vectors in zip(targets(files, out), made.values(), strict=True):
        save_vectors(path, vectors)
        written.append(Fitted(vectors, path, None, None))
    _show_fitted(written, as_json)


@command.command()
@FILES
@click.option(
    "--by", type=click.Choice(["layers", "behaviors", "models"]), help="By default what the number of files suggests."
)
@click.option("--layers", metavar="all|A-B|N[,…]", help="All by default; of behaviors the middle one.")
@LOOK_OUT
@JSON
def similarity(files: tuple[Path, ...], by: Any, layers: str | None, out: Path | None, as_json: bool) -> None:
    """Cosines: layers of one file, behaviors at a layer, or one behavior on two models; and layers on components.

    \b
    Examples:
      compare vectors similarity my_vectors/refusal.safetensors
      compare vectors similarity my_vectors/*.safetensors --layers 2
      compare vectors similarity base/refusal.safetensors chat/refusal.safetensors
    """
    from comparisons.util.layers import layer_parts
    from comparisons.vectors.looking import look_at_similarity

    _show(look_at_similarity(files, by, None if layers is None else layer_parts(layers), out), as_json)


# Without a name of its own, so that no method's name is written here.
@command.command()
@FILES
@LAYERS
@click.option(
    "--of",
    type=click.Choice(["activations", "differences"]),
    default="activations",
    show_default=True,
    help="A point for each half of a pair, or for each pair's difference.",
)
@LOOK_OUT
@JSON
def pca(files: tuple[Path, ...], layers: str, of: Any, out: Path | None, as_json: bool) -> None:
    """Contrast activations on two principal components at each layer, and what these follow.

    \b
    Example:
      compare vectors pca my_vectors/activations/refusal.safetensors
    """
    from comparisons.util.layers import layer_parts
    from comparisons.vectors.looking import look_at_components

    _show(look_at_components(files, layer_parts(layers), of, out), as_json)


@command.command()
@FILES
@LAYERS
@click.option("--vectors", type=click.Path(path_type=Path), help="Judge these, not the pairs' own.")
@LOOK_OUT
@JSON
def diagnose(files: tuple[Path, ...], layers: str, vectors: Path | None, out: Path | None, as_json: bool) -> None:
    """How often the positive half of a pair projects higher, by layer; norms; histograms of projections by label.

    The mean difference is judged on held-out pairs, by five-fold cross-fitting.

    \b
    Examples:
      compare vectors diagnose my_vectors/activations/refusal.safetensors
      compare vectors diagnose chat/activations/refusal.safetensors --vectors base/refusal.safetensors
    """
    from comparisons.util.layers import layer_parts
    from comparisons.vectors.looking import look_at_diagnosis

    _show(look_at_diagnosis(files, layer_parts(layers), vectors, out), as_json)


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER|hub:ORG/NAME…")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write.")
@LAYERS
@click.option("--behavior", help="Its name, where the files don't tell it.")
@options(one_model("Check that they fit; loads no weights.", default=None), *LOADING)
@JSON
def import_(files: tuple[Path, ...], out: Path, layers: str, behavior: str | None, as_json: bool, **given: Any) -> None:
    """Bring in the paper's vec_layer_N_MODEL.pt, a GGUF control vector, a steered model's .pt, or shared vectors.

    \b
    Examples:
      compare vectors import CAA/vectors/refusal --out refusal.safetensors --model meta-llama/Llama-2-7b-chat-hf
      compare vectors import happy.gguf --out happy.safetensors
      compare vectors import hub:me/refusal-vector --out refusal.safetensors
    """
    from comparisons.method.vector_files import check_path, save_vectors
    from comparisons.model.loading import load_without_weights
    from comparisons.util.layers import layer_parts, layers_among
    from comparisons.vectors.exchange import read_foreign
    from comparisons.vectors.fit import Fitted

    parts = layer_parts(layers)
    check_path(out)
    if given["model"] is None:
        without_model(given)
    lm = None if given["model"] is None else load_without_weights(model_source(given))
    foreign = read_foreign(files, behavior, lm)
    foreign = foreign.only(layers_among(parts, foreign.layers, str(files[0])))
    save_vectors(out, foreign)
    _show_fitted([Fitted(foreign, out, None, None)], as_json)


@command.command()
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


def _show(look: Look, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in look.files], "rows": look.records}))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    for title, table in look.tables:
        console.print(title, style="bold", markup=False, highlight=False)
        console.print(rich_table(table, console.width))
    for path in look.files:
        click.echo(path)


def _show_fitted(files: list[Fitted], as_json: bool) -> None:
    """Prints what files of vectors were written."""
    from comparisons.vectors.fit import fitted_records, fitted_table

    if as_json:
        click.echo(json.dumps(fitted_records(files)))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    console.print(rich_table(fitted_table(files), console.width))
    for fitted in files:
        for path in (fitted.path, fitted.activations):
            if path is not None:
                click.echo(path)
