"""`compare replicate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import DRY_RUN, LOADING, declared_option, one_model, options
from comparisons.cli.run import complain, run_specification

if TYPE_CHECKING:
    from comparisons.running.job import Outcome

KNOWLEDGE = ("auto", "mmlu", "mmlu4", "truthfulqa", "none")


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
    one_model("On which model."),
    "data",
    declared_option("behavior", required=False, default=("all",)),
    declared_option("layer", default=None, help="By default the paper's, or chosen on dev on another model."),
    declared_option("settings", metavar="METHOD.FIELD=VALUE", help="Wins over the grid's own."),
    declared_option("measure", default="letters", help="By letters, as the paper, or by the answers' texts."),
    click.option("--beside", metavar="7b|13b", help="Whose published numbers; by default by the number of blocks."),
    declared_option("knowledge", type=click.Choice(KNOWLEDGE), metavar=None, help="On which the cost is measured."),
    *("train_items", "test_items", "knowledge_items", "seed"),
    *LOADING,
    *("out", "fresh"),
    DRY_RUN,
)
def paper(beside: str | None, dry_run: bool, **given: Any) -> int:
    """Run the paper's grid and print our numbers, the published ones and the difference.

    \b
    Examples:
      compare replicate paper
      compare replicate paper --model meta-llama/Llama-2-7b-chat-hf --data DIR --prompt-format llama2-paper
    """
    from comparisons.experiment.specification import Specification
    from comparisons.paper.replicate import beside as published_model
    from comparisons.paper.replicate import replication
    from comparisons.running.estimate import estimate

    published_model(None, beside)
    layer, model = given.pop("layer"), (given.pop("model"),)
    spec = replication(Specification.of({**given, "model": model}), layer)
    if dry_run:
        click.echo(estimate(spec).text())
        return 0
    outcome = run_specification(spec, given)
    _show(outcome, beside)
    return complain(outcome)


def _show(outcome: Outcome, beside: str | None) -> None:
    from comparisons.cli.tables import stdout
    from comparisons.paper.figures import curves
    from comparisons.paper.render import replication_table, write_paper, write_replication
    from comparisons.paper.replicate import beside as published_model
    from comparisons.paper.replicate import lines, notes
    from comparisons.report.terminal import rich_table
    from comparisons.results.gates import gates
    from comparisons.results.record import read_record
    from comparisons.results.summary import Summary

    record = read_record(outcome.path)
    model = record.part("model")
    published = published_model(model.get("blocks"), beside)
    numbers = lines(outcome.rows, published)
    measure = next((row.measure for row in outcome.rows if row.measure), None)
    remarks = notes(published, str(model["name"]), bool(model["embedded"]), measure)
    remarks += (*record.measured, *(gate.text for gate in gates(record.summary)))
    written = write_replication(outcome.path, numbers, published, remarks)
    # A model of which every cell is broken has no curves to draw.
    written += write_paper(outcome.path) if curves(Summary(tuple(outcome.rows))) else []
    console = stdout()
    console.print(rich_table(replication_table(numbers, remarks), console.width))
    for path in (*written, outcome.path / "report.md"):
        click.echo(path)


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
