"""`python -m tests.families`: tiny random models of many families, and what each does here."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

import click

from tests.families.known import IMAGES, TEXT

HELP = """Try tiny random models of the families that transformers brings.

Each is saved, loaded as a user would, and held to plain code and to model.generate. Prints the table of docs/models.md;
a family that gives other numbers, or fails with more than a line, is told on stderr, and the exit code is 1.

\b
Examples:
  python -m tests.families
  python -m tests.families llama qwen3_next gemma3
  python -m tests.families --write
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("names", nargs=-1, metavar="[FAMILY]...")
@click.option("--write", "wanted", is_flag=True, help="Put the table into docs/models.md; of all families.")
def command(names: tuple[str, ...], wanted: bool) -> None:
    from tests.families.checks import look
    from tests.families.table import write, written

    warnings.simplefilter("ignore")
    every = (*TEXT, *IMAGES)
    if unknown := [name for name in names if name not in every]:
        raise click.UsageError(f"no family {unknown[0]}: use {', '.join(every)}.")
    if wanted and names:
        raise click.UsageError("--write is of all families: leave their names out.")
    rows = []
    for name in names or every:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            rows.append(look(name, Path(folder)))
        click.echo(f"{name}: {time.process_time() - start:.1f} s", err=True)
        for column, what in rows[-1].broken.items():
            click.echo(f"  {column}: {what}", err=True)
    click.echo(written(rows))
    if wanted:
        write(rows)
    sys.exit(1 if any(row.broken for row in rows) else 0)


if __name__ == "__main__":
    command()
