"""`compare data`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from comparisons.cli.exchange import JSON
from comparisons.cli.options import SEED

DATA = click.option("--data", type=click.Path(path_type=Path), help="Folder in the paper's layout, or one file.")


@click.group("data")
def command() -> None:
    """Data sets of behaviors: cut raw items, describe them, check them.

    \b
    Examples:
      compare data split raw/*.json --out my_data
      compare data validate my_data
    """


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder in the paper's layout.")
@click.option("--test-items", type=click.IntRange(min=1), default=50, show_default=True, help="Questions to cut off.")
@click.option("--train-items", type=click.IntRange(min=1), metavar="N", help="Pairs to keep; all others by default.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the split.")
def split(files: tuple[Path, ...], out: Path, test_items: int, train_items: int | None, seed: int) -> None:
    """Cut files of raw items into pairs to generate from and test questions, in the paper's layout.

    \b
    Example:
      compare data split CAA/datasets/raw/*/dataset.json --out my_data
    """
    from comparisons.dataset.checks import counted
    from comparisons.dataset.splitting import split_file

    for file in files:
        made = split_file(file, out, test_items, train_items, seed)
        left = f"; {counted(made.repeated, 'repeated item')} left out" if made.repeated else ""
        click.echo(f"{made.behavior}: {len(made.train)} pairs, {len(made.test)} test questions{left}")


@command.command()
@DATA
@JSON
def stats(data: Path | None, as_json: bool) -> None:
    """How many items there are, under which letters they match, how long they are.

    \b
    Example:
      compare data stats --data CAA/datasets
    """
    from comparisons.behaviors import Library
    from comparisons.dataset.describe import describe_all, description_records, description_table

    found = describe_all(Library.open(data))
    if as_json:
        click.echo(json.dumps(description_records(found)))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    console.print(rich_table(description_table(found), console.width))


@command.command()
@DATA
@JSON
def validate(data: Path | None, as_json: bool) -> int:
    """Look for leaks into the test questions, repetitions, lopsided letters, and lengths that tell the answer.

    Exit code 1 where something makes numbers wrong.

    \b
    Example:
      compare data validate --data CAA/datasets
    """
    from dataclasses import asdict

    from comparisons.behaviors import Library
    from comparisons.dataset.checks import check_all, counted

    library = Library.open(data)
    found = check_all(library)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found]))
    else:
        for finding in found:
            click.echo(f"{finding.behavior}: {finding.level}: {finding.text}")
        errors = sum(finding.level == "error" for finding in found)
        counts = (len(library.names), "behavior"), (errors, "error"), (len(found) - errors, "warning")
        click.echo(", ".join(counted(count, what) for count, what in counts))
    return 1 if any(finding.level == "error" for finding in found) else 0
