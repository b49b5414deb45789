"""`compare score`."""

from __future__ import annotations

from pathlib import Path

import click

from comparisons.cli.options import judge_option, options, price_options

HELP = """Score the free answers of a finished run again, by other judges or for those without a score.

What other judges have said stays; the report is rendered again. Replies of a server are kept, so that nothing is paid
twice.

\b
Examples:
  compare score reports/refusal-pocket-1a2b3c4d --judge rules,pairwise:rules
  compare score RUN --judge openai:gpt-4o-mini --judge-price 0.15/0.60 --judge-budget 2
  compare score RUN --judge openai:my-model --judge-url http://127.0.0.1:8000/v1
"""


@click.command("score", help=HELP)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@judge_option("", required=True)
@options(*price_options())
@click.option("--data", type=click.Path(path_type=Path), help="Where the behaviors are, if not where they were.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", help="Of a local judge.")
def command(
    run: Path,
    judges: tuple[str, ...],
    judge_url: str | None,
    judge_price: str | None,
    judge_budget: float | None,
    data: Path | None,
    device: str,
) -> None:
    from comparisons.cli.options import read_price
    from comparisons.cli.tables import show
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.running.scoring import score
    from comparisons.util.errors import CompareError

    if not judges:
        raise CompareError("--judge names no judge: write rules, local, openai:MODEL, ….")
    score(run, OpenEnded.read(judges, None, judge_url, read_price(judge_price), judge_budget), data, device)
    show(run)
