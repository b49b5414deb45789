"""What is done with finished runs: `compare report`, `score`, `share` and `diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import JUDGING, LOADING, declared_option, options, reading
from comparisons.util.options import names

if TYPE_CHECKING:
    from comparisons.running.differences import Change, Differences
    from comparisons.util.table import Table

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
    from comparisons.results.folder import read_summary

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


LONGEST = 40
"""Characters of a value that differs."""

DIFF = """Show what changed between two runs, or how two cells of one run differ; paired by question, with intervals.

Two runs must have asked the same questions; model, seed, settings, program and machine may differ, and what differs is
listed. Cells are named as in summary.json, or by the end of that: caa/pos/1, baseline.

\b
Examples:
  compare diff reports/before reports/after
  compare diff reports/float32 reports/4bit --json
  compare diff reports/first sft/neg/1 sysprompt/neg/1
"""


@click.command("diff", help=DIFF)
@click.argument("first", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("second", metavar="RUN|CELL")
@click.argument("third", required=False, metavar="[CELL]")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def diff(first: Path, second: str, third: str | None, as_json: bool) -> None:
    if third is None:
        _runs(first, Path(second), as_json)
    else:
        _cells(first, second, third, as_json)


def _cells(run: Path, first: str, second: str, as_json: bool) -> None:
    from comparisons.cli.tables import stdout
    from comparisons.report.contrasts import two_table
    from comparisons.report.terminal import rich_table
    from comparisons.running.differences import compare_cells

    found = compare_cells(run, first, second)
    if as_json:
        click.echo(json.dumps(found))
        return
    console = stdout()
    console.print(rich_table(two_table(found), console.width))


def _runs(first: Path, second: Path, as_json: bool) -> None:
    from comparisons.running.differences import compare_runs

    changed = compare_runs(first, second)
    if as_json:
        click.echo(json.dumps(_plain(changed)))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    if changed.made:
        console.print("Made differently:")
        for name, before, after in changed.made:
            console.print(
                f"  {name}: {_short(before)} → {_short(after)}", highlight=False, markup=False, soft_wrap=True
            )
        console.print()
    console.print(f"Shift in {first} (before) and {second} (after):", highlight=False, markup=False, soft_wrap=True)
    console.print(rich_table(_changes(changed), console.width))
    for run, keys in zip((first, second), changed.only, strict=True):
        if keys:
            console.print(f"only in {run}: {', '.join(keys)}", highlight=False, markup=False, soft_wrap=True)


def _plain(differences: Differences) -> dict[str, object]:
    changes = []
    for change in differences.changes:
        row = change.row
        place = {name: getattr(row, name) for name in ("behavior", "cell", "method", "direction", "strength")}
        changes.append({**place, **{name: value for name, value in vars(change).items() if name != "row"}})
    return {"made": differences.made, "changes": changes, "only": differences.only}


def _short(text: str) -> str:
    """A list of hashes says no more when it is whole."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _changes(differences: Differences) -> Table:
    from comparisons.util.table import Column, Row, Table

    columns = (
        Column("behavior", align="left"),
        Column("method", align="left"),
        Column("direction", align="left"),
        Column("strength"),
        Column("questions", rank=5),
        Column("before", rank=2),
        Column("after", rank=2),
        Column("change"),
        Column("95% CI", interval=True),
        Column("p", rank=6),
        Column("p (Holm)", rank=1),
        Column("cost's change", rank=4),
        Column("95% CI", rank=4, interval=True),
    )
    notes = ("A baseline's numbers are p_match, every other cell's its shift from the baseline of its own run.",)
    lines = tuple(Row(_line(change), change.row.behavior) for change in differences.changes)
    table = Table(columns, lines, notes).without_empty()
    one_dose = len({change.row.strength for change in differences.changes if not change.row.is_baseline}) < 2
    return table.keeping(lambda i, column: not (one_dose and column.title == "strength"))


def _line(change: Change) -> tuple[str, ...]:
    from comparisons.report.table import cell_name
    from comparisons.util.table import NOTHING, count, interval, number, p_value

    row = change.row
    return (
        row.behavior,
        cell_name(row),
        row.direction or NOTHING,
        NOTHING if row.is_baseline else f"{row.strength:g}",
        count(change.n_items),
        number(change.before, signed=not row.is_baseline),
        number(change.after, signed=not row.is_baseline),
        number(change.change, signed=True),
        interval(change.ci),
        p_value(change.p_value),
        p_value(change.p_holm),
        number(change.cost_change, signed=True),
        interval(change.cost_ci),
    )
