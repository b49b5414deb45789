"""`compare replicate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from comparisons.cli.options import SEED, machine_options, names, options, prompt_option
from comparisons.cli.performing import complain


@click.group("replicate")
def command() -> None:
    """The paper again: its grids on any model, ours beside theirs, and its result files as a run.

    \b
    Examples:
      compare replicate paper --behavior refusal --test-items 20
      compare replicate import CAA/results --out reports/theirs
    """


@command.command("paper")
@options(
    click.option("--model", default="pocket", show_default=True, metavar="pocket|PATH|HUB_ID", help="On which model."),
    click.option("--data", type=click.Path(path_type=Path), help="Folder in the paper's layout."),
    click.option("--behavior", default="all", show_default=True, callback=names, metavar="NAME[,NAME…]|all"),
    click.option("--layer", metavar="auto|N", help="By default the paper's, or chosen on dev on another model."),
    click.option("--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE", help="Wins over the grid's own."),
    click.option("--beside", metavar="7b|13b", help="Whose published numbers; by default by the number of blocks."),
    prompt_option(),
    click.option("--knowledge", type=click.Choice(["auto", "mmlu", "mmlu4", "truthfulqa", "none"]), default="auto"),
    click.option("--train-items", type=int, metavar="N"),
    click.option("--test-items", type=int, metavar="N"),
    click.option("--seed", type=SEED, default=0, show_default=True),
    machine_options(),
    click.option("--out", type=click.Path(path_type=Path), help="The run's folder."),
    click.option("--fresh", is_flag=True, help="Discard what the folder holds and begin anew."),
    click.option("--dry-run", is_flag=True, help="Show cells, forward passes and time, and stop."),
)
def paper(
    model: str,
    behavior: tuple[str, ...],
    settings: tuple[str, ...],
    beside: str | None,
    prompt_format: Any,
    device: str,
    dtype: str,
    quantize: Any,
    blocks: str | None,
    trust_remote_code: bool,
    offload: Path | None,
    out: Path | None,
    fresh: bool,
    dry_run: bool,
    **rest: Any,
) -> int:
    """Run the paper's grid and print our numbers, the published ones and the difference.

    \b
    Examples:
      compare replicate paper
      compare replicate paper --model meta-llama/Llama-2-7b-chat-hf --data DIR --prompt-format llama2-paper
    """
    from comparisons.model.source import ModelSource
    from comparisons.paper.replicate import beside as published_model
    from comparisons.paper.replicate import replication

    published_model(None, beside)
    source = ModelSource(model, device, dtype, quantize, prompt_format, blocks, trust_remote_code, offload)
    spec = replication(source, () if behavior == ("all",) else behavior, settings=settings, **rest)
    if dry_run:
        from comparisons.running.estimate import estimate

        click.echo(estimate(spec).text())
        return 0
    from comparisons.cli.progress import cell_progress
    from comparisons.cli.tables import stdout
    from comparisons.paper.curves import curves
    from comparisons.paper.render import replication_table, write_paper, write_replication
    from comparisons.paper.replicate import lines, notes
    from comparisons.report.terminal import rich_table
    from comparisons.results.record import read_record
    from comparisons.results.summary import Summary
    from comparisons.running.job import run

    outcome = run(spec, cell_progress, out=out, fresh=fresh, command=shlex.join(["compare", *sys.argv[1:]]))
    facts = read_record(outcome.path).part("model")
    known = published_model(facts.get("blocks"), beside)
    found, said = lines(outcome.rows, known), notes(known, str(facts["name"]), bool(facts["embedded"]))
    written = write_replication(outcome.path, found, known, said)
    # A model of which every cell is broken has no curves to draw.
    written += write_paper(outcome.path) if curves(Summary(tuple(outcome.rows))) else []
    console = stdout()
    console.print(rich_table(replication_table(found, known, said), console.width))
    for path in (*written, outcome.path / "report.md"):
        click.echo(path)
    complain(outcome)
    return 1 if outcome.failed else 0


@command.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run's folder.")
@click.option("--fresh", is_flag=True, help="Discard what the folder holds.")
def import_command(folder: Path, out: Path, fresh: bool) -> int:
    """Make a run of the paper's result files (results_layer=…json), which `compare report` renders.

    \b
    Example:
      compare replicate import results/ --out reports/theirs
      compare report reports/theirs --figures paper
    """
    from comparisons.cli.tables import show
    from comparisons.paper.results import import_results

    import_results(folder, out, fresh)
    show(out)
    return 0
