"""`python -m comparisons.validate`: the simulations behind docs/validity.md."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from comparisons.errors import CompareError
from comparisons.validate.simulations import Sizes

QUICK = Sizes(runs=200, draws=400, flips=399, multiples=(0.0, 1.0, 2.0))

HELP = """Simulate data with a known truth and see whether the estimators keep their promises.

Prints tables in Markdown. The exit code is 0 where every bound is kept, 1 where one isn't: stderr says which.

\b
Examples:
  python -m comparisons.validate
  python -m comparisons.validate --quick
  python -m comparisons.validate --out docs/figures
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--runs", type=click.IntRange(min=20), metavar="N", help="Data sets for each row.  [default: 5000]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all draws.")
@click.option("--quick", is_flag=True, help="200 runs of fewer draws: see that all of it works.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write validity-numbers.json and figures there as well.",
)
def command(runs: int | None, seed: int, quick: bool, out: Path | None) -> int:
    from comparisons.validate.figures import write_figures
    from comparisons.validate.record import write_results
    from comparisons.validate.results import simulate

    if out is not None:
        _make(out)
    sizes = replace(QUICK if quick else Sizes(), seed=seed)
    start = time.monotonic()
    results = simulate(replace(sizes, runs=runs) if runs else sizes, lambda text: click.echo(text, err=True))
    for name, table in results.tables().items():
        click.echo(f"{name}\n\n{table}\n")
    if out is not None:
        for path in (write_results(results, out, time.monotonic() - start), *write_figures(results, out)):
            click.echo(f"wrote {path}", err=True)
    missed = results.missed()
    for line in missed:
        click.echo(f"not kept: {line}", err=True)
    return 1 if missed else 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"the folder {folder} can't be made: {error.strerror}; give --out another.") from error


def main(arguments: list[str] | None = None) -> int:
    """Parses, simulates and prints; returns the exit code: 0 all bounds kept, 1 not all, 2 wrong usage."""
    try:
        return int(command.main(arguments, prog_name="python -m comparisons.validate", standalone_mode=False) or 0)
    except CompareError as error:
        click.echo(f"Error: {error}", err=True)
    except click.ClickException as error:
        error.show()
    except (KeyboardInterrupt, click.Abort):
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
