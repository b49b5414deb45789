"""`compare bench`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from comparisons.cli.options import LOADING, declared_option, model_source, options
from comparisons.util.options import text
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.bench.results import Results

SIZES = ("repeats", "prompts", "tokens", "multipliers")
"""Options that stand for sizes of the works."""

HELP = """Time the engine against the plain loop: one prompt, one setting a pass.

All contenders run in this process, in turns, on the same prompts; where it is installed, the steering-vectors library
is one of them. The exit code is 0 whatever the figures are.

\b
Examples:
  compare bench
  compare bench --quick
  compare bench --model pocket --work sweep --json
  compare bench --model smollm2 --dtype bfloat16 --work sweep
  compare bench --model llama2-7b-shape --device cuda
  compare bench --model llama2-7b-shape --write random-7b
  compare bench --figures docs/figures
  compare bench --whole "run --behavior refusal --methods caa,sft,sysprompt,sft+caa"
"""


@click.command("bench", help=HELP)
@options(
    declared_option(
        "model",
        default="standard",
        metavar="standard|llama2-7b-shape|pocket|smollm2|PATH|FILE.gguf|HUB_ID",
        help="standard: a random Llama of 43M parameters, made on the spot, for which --device and --dtype alone mean "
        "something.",
        read=text,
    ),
    click.option(
        "--work",
        default="extraction,sweep,grid,knowledge,answers,kl,generation",
        show_default=True,
        metavar="NAME[,NAME…]",
        help="What to time.",
    ),
    *LOADING,
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU; torch's choice by default.")
@click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="Turns of each contender.  [default: 3]")
@click.option(
    "--prompts", type=click.IntRange(min=1), metavar="N", help="Of sweep, grid, answers and kl.  [default: 50]"
)
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Of each prompt.  [default: 192]")
@click.option(
    "--multipliers", type=click.IntRange(min=2), metavar="N", help="Of each layer in sweep and answers.  [default: 9]"
)
@click.option("--quick", is_flag=True, help="A few short prompts: see that all of it runs; the ratios say nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead of the table: write figures of seconds against settings and prompt length, and their numbers.",
)
@click.option(
    "--whole",
    metavar="COMMAND",
    help="Instead: where the seconds of a whole `run` or `sweep` go, which is made anew and thrown away.",
)
@click.option(
    "--write",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead: write the random model to a folder, for any command's --model.",
)
def command(
    work: str,
    threads: int | None,
    quick: bool,
    as_json: bool,
    figures: Path | None,
    whole: str | None,
    write: Path | None,
    **given: Any,
) -> int:
    if whole is not None:
        from comparisons.cli.tables import stdout

        stdout().print(_stages_table(shlex.split(whole), threads))
        return 0
    source = model_source(given)
    if write is not None:
        from comparisons.bench.subjects import write_subject

        write_subject(source, write)
        return 0
    from comparisons.bench.works import QUICK, for_subject

    chosen: dict[str, int] = {name: given[name] for name in SIZES if given[name] is not None}
    sizes = replace(QUICK if quick else for_subject(source.name), **chosen)
    import torch

    from comparisons.bench.subjects import open_subject

    lm = open_subject(source)
    if threads is not None:
        torch.set_num_threads(threads)
    if figures is not None:
        from comparisons.bench.figures import write_figures

        for path in write_figures(lm, figures, sizes, _say, quick):
            click.echo(path)
        return 0
    from comparisons.bench.results import bench

    results = bench(lm, [part.strip() for part in work.split(",") if part.strip()], sizes, _say)
    if as_json:
        click.echo(json.dumps(results.to_json()))
    else:
        show(results)
    return 0


def show(results: Results) -> None:
    """What was timed, the table of contenders, and the targets where the subject has some."""
    from comparisons.bench.results import absent, contenders_table, heading, targets_table
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    for line in heading(results):
        console.print(line, markup=False, highlight=False)
    console.print(rich_table(contenders_table(results.rows), console.width))
    for line in (*absent(results.rows), ""):
        console.print(line, markup=False, highlight=False)
    if results.targets:
        console.print(targets_table(results.targets))


def _stages_table(words: Sequence[str], threads: int | None) -> Table:
    """Makes a run, and says what each of its stages took."""
    from comparisons.cli.run import specification_of
    from comparisons.running.stages import staged

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    seconds = staged(specification_of(words))
    table = Table("stage", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("seconds", "processor", "share"):
        table.add_column(column, justify="right")
    whole = sum(clock for clock, _ in seconds.values())
    for stage, (clock, processor) in seconds.items():
        table.add_row(stage, f"{clock:.1f}", f"{processor:.1f}", f"{clock / whole:.0%}")
    return table


def _say(text: str) -> None:
    say(f"bench: {text}")
