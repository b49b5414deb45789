"""`python -m tests.validation`: the simulations and measurements behind docs/validity.md."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.util.errors import CompareError
from tests.validation.simulations import Sizes

if TYPE_CHECKING:
    from tests.validation.onmodel import ModelResults
    from tests.validation.results import Results

QUICK = Sizes(runs=200, draws=400, flips=399, multiples=(0.0, 1.0, 2.0))

HELP = """See whether the numbers keep their promises.

Simulates data with a known truth for the estimators. Then, on the embedded model: do vectors from shuffled labels rank
as random ones do, does doubling a strength raise the shift, does a planted letter bias show as letter and not as
content?

Prints tables in Markdown. The exit code is 0 where every bound is kept, 1 where one isn't: stderr says which.

\b
Examples:
  python -m tests.validation
  python -m tests.validation --quick
  python -m tests.validation --only model
  python -m tests.validation --out docs/figures
"""
PARTS = ("simulations", "model")


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--only", type=click.Choice(PARTS), help="One part.  [default: both]")
@click.option("--runs", type=click.IntRange(min=20), metavar="N", help="Simulated data sets a row.  [default: 5000]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all draws.")
@click.option("--quick", is_flag=True, help="200 runs of fewer draws, fewer items: see that all of it works.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the numbers (validity-numbers.json, validity-model.json) and figures there as well.",
)
def command(only: str | None, runs: int | None, seed: int, quick: bool, out: Path | None) -> int:
    if only == "model" and runs:
        raise CompareError("--runs is about the simulations: leave it out with --only model.")
    if out is not None:
        _make(out)
    missed = []
    if only != "model":
        missed += _simulate(runs, seed, quick, out)
    if only != "simulations":
        missed += _measure(seed, quick, out)
    for line in missed:
        click.echo(f"not kept: {line}", err=True)
    return 1 if missed else 0


def _simulate(runs: int | None, seed: int, quick: bool, out: Path | None) -> list[str]:
    from tests.validation.figures import write_figures
    from tests.validation.record import write_results
    from tests.validation.results import simulate

    sizes = replace(QUICK if quick else Sizes(), seed=seed)
    start = time.monotonic()
    results = simulate(replace(sizes, runs=runs) if runs else sizes, _turn)
    seconds = time.monotonic() - start
    _show(results)
    if out is not None:
        _wrote([write_results(results, out, seconds), *write_figures(results, out)])
    return results.missed()


def _measure(seed: int, quick: bool, out: Path | None) -> list[str]:
    from comparisons.model.loading import load
    from comparisons.model.source import ModelSource
    from tests.validation import onmodel
    from tests.validation.modelfigures import write_model_figures
    from tests.validation.record import write_model_results
    from tests.validation.subjects import ModelSizes

    start = time.monotonic()
    sizes = replace(onmodel.QUICK if quick else ModelSizes(), seed=seed)
    results = onmodel.measure(load(ModelSource()), sizes, _turn)
    seconds = time.monotonic() - start
    _show(results)
    if out is not None:
        _wrote([write_model_results(results, out, seconds), *write_model_figures(results, out)])
    return results.missed()


def _show(results: Results | ModelResults) -> None:
    for name, table in results.tables().items():
        click.echo(f"{name}\n\n{table}\n")


def _turn(text: str) -> None:
    click.echo(text, err=True)


def _wrote(paths: list[Path]) -> None:
    for path in paths:
        click.echo(f"wrote {path}", err=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"the folder {folder} can't be made: {error.strerror}; give --out another.") from error


def main(arguments: list[str] | None = None) -> int:
    """Parses, simulates and prints; returns the exit code: 0 all bounds kept, 1 not all, 2 wrong usage."""
    try:
        return int(command.main(arguments, prog_name="python -m tests.validation", standalone_mode=False) or 0)
    except CompareError as error:
        click.echo(f"Error: {error}", err=True)
    except click.ClickException as error:
        error.show()
    except (KeyboardInterrupt, click.Abort):
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
