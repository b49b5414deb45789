"""What is done with a finished run: `compare report`, `compare score` and `compare share`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comparisons.cli.options import JUDGING, LOADING, declared_option, options, reading
from comparisons.util.options import names

JUDGES = "rules, local, local:PATH, openai:MODEL, embedding:MODEL, pairwise:JUDGE, …"


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
@click.option(
    "--format",
    "formats",
    default="md,html",
    show_default=True,
    callback=reading(names),
    metavar="md,html,latex,csv",
    help="What to write: the report as Markdown or HTML, the main table as LaTeX (booktabs) or CSV.",
)
@click.option(
    "--figures", type=click.Choice(["paper"]), help="Also draw the paper's set of figures and tables, in RUN/paper/."
)
@click.option("--pager/--no-pager", default=None, help="Page the whole report; by default on a terminal only.")
@click.option("--out", type=click.Path(path_type=Path), help="Of several runs: the folder of the joint one.")
def report(
    runs: tuple[Path, ...], formats: tuple[str, ...], figures: str | None, pager: bool | None, out: Path | None
) -> int:
    """Render a finished run again, or join several into one table; no model is loaded.

    Runs are joined where they are comparable: the same questions and orders. The correction for many
    comparisons is over the joint table.

    \b
    Examples:
      compare report reports/refusal-pocket-1a2b3c4d
      compare report reports/refusal-pocket-1a2b3c4d --format latex,csv
      compare report reports/refusal-pocket-1a2b3c4d --figures paper
      compare report reports/monday reports/tuesday --out reports/both
    """
    from comparisons.cli.tables import page, show, stdout
    from comparisons.report import render
    from comparisons.results.summary_file import read_summary

    _check(runs, formats, out)
    run = runs[0] if len(runs) == 1 else _joined(runs, out)
    rows = read_summary(run).rows
    if stdout().is_terminal if pager is None else pager:
        for path in render(run, formats, page):
            click.echo(f"report: {path}")
    else:
        show(run, render(run, formats))
    if figures:
        from comparisons.paper.render import write_paper

        for path in write_paper(run):
            click.echo(path)
    return 1 if any(row.status == "failed" for row in rows) else 0


def _check(runs: tuple[Path, ...], formats: tuple[str, ...], out: Path | None) -> None:
    from comparisons.report import FORMATS
    from comparisons.util.errors import CompareError

    if not formats or not set(formats) <= set(FORMATS):
        raise CompareError(f"--format takes {', '.join(FORMATS)}, not '{','.join(formats)}'.")
    if out is not None and len(runs) == 1:
        raise CompareError(f"--out is where several runs are joined; {runs[0]} is rendered in its own folder.")
    places = [run.resolve() for run in runs]
    if twice := next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None):
        raise CompareError(f"the run {twice} is named twice: name it once.")


def _joined(runs: tuple[Path, ...], out: Path | None) -> Path:
    import shlex
    import sys

    from comparisons.running.joining import join
    from comparisons.util.files import json_digest

    place = out or Path("reports") / f"joined-{json_digest([run.name for run in runs])[:8]}"
    return join(runs, place, shlex.join(["compare", *sys.argv[1:]]))


@click.command("score")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@options(
    declared_option("judge", required=True, help=JUDGES),
    *JUDGING[1:],
    declared_option("data", help="Where the behaviors are, if not where they were."),
    *LOADING,
    **dict.fromkeys(LOADING),
)
def score(run: Path, data: Path | None, **given: Any) -> None:
    """Score the free answers of a finished run again, by other judges or for those without a score.

    How to load a model is about a local judge: the run's own model is loaded as the run has it but for what is said
    here.

    What other judges have said stays; the report is rendered again. Replies of a server are kept, so that nothing is
    paid twice.

    \b
    Examples:
      compare score reports/refusal-pocket-1a2b3c4d --judge rules,pairwise:rules
      compare score RUN --judge openai:gpt-4o-mini --judge-price 0.15/0.60 --judge-budget 2
      compare score RUN --judge openai:my-model --judge-url http://127.0.0.1:8000/v1
    """
    from comparisons.cli.tables import show
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.running.scoring import score as score_run
    from comparisons.util.errors import CompareError

    judging = OpenEnded.of(given)
    if not given["judge"] or judging is None:
        raise CompareError("--judge names no judge: write rules, local, openai:MODEL, ….")
    score_run(run, judging, data, {name: given[name] for name in LOADING if given[name]})
    show(run)


@click.command("share")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--to", "name", required=True, metavar="ORG/NAME", help="The repository; made where there is none.")
@click.option("--private", is_flag=True, help="Make it a private one.")
@click.option("--dry-run", is_flag=True, help="Write RUN/shared/, to be looked at, and upload nothing.")
def share(run: Path, name: str, private: bool, dry_run: bool) -> None:
    """Share a run's best vector or adapter on the Hugging Face hub, with a card of what it does, costs and is from.

    The card's program applies it in plain transformers. HF_TOKEN is read from the environment or .env.

    \b
    Examples:
      compare share reports/refusal-pocket-1a2b3c4d --to me/refusal-vector --dry-run
      compare share reports/refusal-pocket-1a2b3c4d --to me/refusal-vector --private
    """
    from comparisons.running.share import make_bundle
    from comparisons.util.hub import check_name, upload

    folder = make_bundle(run, check_name(name), run / "shared")
    for file in sorted(folder.iterdir()):
        click.echo(file)
    if not dry_run:
        click.echo(upload(folder, name, private))
