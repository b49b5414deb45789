"""`compare bench`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.bench.works import Sizes

HELP = """Time the engine against the plain loop: one prompt, one setting a pass.

All contenders run in this process, in turns, on the same prompts; where it is installed, the steering-vectors library
is one of them. The exit code is 0 whatever the figures are.

\b
Examples:
  compare bench
  compare bench --quick
  compare bench --model pocket --work sweep --json
  compare bench --model llama2-7b-shape --device cuda
  compare bench --model llama2-7b-shape --write random-7b
  compare bench --figures docs/figures
"""


@click.command("bench", help=HELP)
@click.option(
    "--model",
    default="standard",
    show_default=True,
    metavar="standard|llama2-7b-shape|pocket|PATH|HUB_ID",
    help="standard: a random Llama of 43M parameters, made on the spot.",
)
@click.option(
    "--work",
    default="extraction,sweep,grid,knowledge,generation",
    show_default=True,
    metavar="NAME[,NAME…]",
    help="What to time.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True, help="Where."
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Of the weights.",
)
@click.option("--quantize", type=click.Choice(["4bit", "8bit"]), help="Load so; not for a random model.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU; torch's choice by default.")
@click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="Turns of each contender.  [default: 3]")
@click.option("--prompts", type=click.IntRange(min=1), metavar="N", help="Of sweep and grid.  [default: 50]")
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Of each prompt.  [default: 192]")
@click.option("--quick", is_flag=True, help="A few short prompts: see that all of it runs; the ratios say nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead of the table: write figures of seconds against settings and prompt length, and their numbers.",
)
@click.option(
    "--write",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead: write the random model to a folder, for any command's --model.",
)
def command(
    model: str,
    work: str,
    device: str,
    dtype: str,
    quantize: Any,
    threads: int | None,
    quick: bool,
    as_json: bool,
    figures: Path | None,
    write: Path | None,
    **given: int | None,
) -> int:
    if write is not None:
        from comparisons.bench.subjects import write_subject

        write_subject(model, write, dtype)
        return 0
    lm = _subject(model, device, dtype, quantize, threads)
    sizes = _sizes(model, quick, {name: value for name, value in given.items() if value is not None})
    if figures is not None:
        from comparisons.bench.figures import write_figures

        for path in write_figures(lm, figures, sizes, _say, quick):
            click.echo(path)
        return 0
    from comparisons.bench.results import bench, rendered

    results = bench(lm, [part.strip() for part in work.split(",") if part.strip()], sizes, _say)
    if as_json:
        click.echo(json.dumps(results.to_json()))
    else:
        from comparisons.cli.tables import stdout

        stdout().print(rendered(results))
    return 0


def _subject(model: str, device: str, dtype: str, quantize: Any, threads: int | None) -> Any:
    import torch

    from comparisons.bench.subjects import open_subject

    lm = open_subject(model, device, dtype, quantize)
    if threads is not None:
        torch.set_num_threads(threads)
    return lm


def _sizes(model: str, quick: bool, given: dict[str, int]) -> Sizes:
    from comparisons.bench.works import QUICK, for_subject

    return replace(QUICK if quick else for_subject(model), **given)


def _say(text: str) -> None:
    say(f"bench: {text}")
