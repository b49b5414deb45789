"""`compare score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import JUDGING, declared_option, options

if TYPE_CHECKING:
    from comparisons.model.source import DeviceName

JUDGES = "rules, local, local:PATH, openai:MODEL, embedding:MODEL, pairwise:JUDGE, …"

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
@options(
    declared_option("judge", required=True, help=JUDGES),
    *JUDGING[1:],
    declared_option("data", help="Where the behaviors are, if not where they were."),
    declared_option("device", help="Of a local judge."),
)
def command(run: Path, data: Path | None, device: DeviceName, **given: Any) -> None:
    from comparisons.cli.tables import show
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.running.scoring import score
    from comparisons.util.errors import CompareError

    judging = OpenEnded.of(given)
    if not given["judge"] or judging is None:
        raise CompareError("--judge names no judge: write rules, local, openai:MODEL, ….")
    score(run, judging, data, device)
    show(run)
