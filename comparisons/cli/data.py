"""`compare data` and `compare behaviors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.cli.options import JSON, declared_option
from comparisons.model.source import ModelSource, data_for
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from comparisons.dataset.checks import Finding
    from comparisons.dataset.lettering import Fields


@click.group("data")
def command() -> None:
    """Data sets of behaviors: fetch or begin one, cut raw items, describe them, check them.

    \b
    Examples:
      compare data fetch caa
      compare data new curiosity --out my_data
      compare data split raw/*.json --out my_data
      compare data validate --data my_data
    """


@click.command("behaviors")
@declared_option("data")
def behaviors(data: Path | None) -> None:
    """List the behaviors that come along, or those of a folder or file.

    \b
    Examples:
      compare behaviors
      compare behaviors --data DIR
    """
    from comparisons.cli.tables import stdout
    from comparisons.dataset.packaged import PACKAGED, described

    for each in PACKAGED if data is None else [data]:
        stdout().print(_behaviors(each, described(each)))


def _behaviors(data: str | Path, title: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    from comparisons.dataset.behaviors import Library

    heads = ("behavior", "pairs", "test", "open-ended", "system prompts", "what it is")
    table = Table(*heads, title=Text(title), title_justify="left")
    library = Library.open(data)
    for name in library.names:
        one = library.behavior(name)
        table.add_row(
            name,
            str(len(one.train)),
            str(len(one.test)),
            str(len(one.open_ended)),
            "yes" if one.prompts else "no",
            one.description or "",
        )
    return table


@command.command()
@click.argument("name")
@click.option("--out", default="my_data", show_default=True, type=click.Path(path_type=Path), help="Folder of data.")
def new(name: str, out: Path) -> None:
    """Begin a behavior of your own: example items and texts to replace, and a README of what to write.

    \b
    Example:
      compare data new curiosity --out my_data
    """
    from comparisons.dataset.scaffold import new_behavior

    for path in new_behavior(name, out):
        click.echo(path)
    click.echo(f"\nNext: replace the examples as {out / 'README.md'} says, then\n  compare data validate --data {out}")


@command.command()
@click.argument("name", metavar="caa|anthropic-evals|mmlu|truthfulqa")
@click.option("--out", default="datasets", show_default=True, type=click.Path(path_type=Path), help="Folder of data.")
@click.option("--only", multiple=True, metavar="NAME", help="Behaviors (or patterns of them), or subjects; repeatable.")
@click.option(
    "--per-subject", type=click.IntRange(min=1), metavar="N", help="Questions of each subject, 10 by default."
)
@click.option("--revision", help="Another commit or branch than the pinned one.")
def fetch(name: str, out: Path, only: tuple[str, ...], per_subject: int | None, revision: str | None) -> None:
    """Download a published set into the paper's layout: its licence is shown and written beside it.

    The revision is pinned, each file checked. What is there is not fetched again, and an interrupted call goes on.

    \b
    Examples:
      compare data fetch caa
      compare data fetch anthropic-evals --only persona/agreeableness --only "sycophancy/*"
      compare data fetch mmlu
      compare run --data datasets --behavior refusal --knowledge mmlu4
    """
    from comparisons.dataset.fetch import Wanted, fetch

    result = fetch(Wanted(name, out, only, revision, per_subject), say)
    if result.unpinned:
        say(f"no checksum was known of {', '.join(result.unpinned)}: what came is trusted from now on")
    click.echo(
        f"{name}: {len(result.downloaded)} downloaded, {result.kept} there; {len(result.written)} written to {out}"
    )


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder in the paper's layout.")
@declared_option("test_items", type=click.IntRange(min=1), metavar=None, default=50, help="Questions to cut off.")
@declared_option("train_items", type=click.IntRange(min=1), help="Pairs to keep; all others by default.")
@declared_option("seed", help="Of the split.")
@click.option(
    "--columns",
    metavar="QUESTION,MATCHING,CONTRAST",
    help="What the fields of questions with two answers and no letters are called, if not question,matching,contrast.",
)
@click.option("--replace", is_flag=True, help="Write over the items that are there; behavior.json stays.")
def split(
    files: tuple[Path, ...],
    out: Path,
    test_items: int,
    train_items: int | None,
    seed: int,
    columns: str | None,
    replace: bool,
) -> None:
    """Cut files of raw items into pairs to generate from and test questions, in the paper's layout.

    Items have lettered choices, or are questions with two answers; those get letters.

    \b
    Examples:
      compare data split CAA/datasets/raw/*/dataset.json --out my_data
      compare data split curiosity.csv --columns "question,good answer,bad answer" --out my_data
    """
    from comparisons.dataset.checks import counted
    from comparisons.dataset.splits import split_file

    answers = _fields(columns)
    for file in files:
        made = split_file(file, out, test_items, train_items, seed, answers, replace)
        left = f"; {counted(made.repeated, 'repeated item')} left out" if made.repeated else ""
        click.echo(f"{made.behavior}: {len(made.train)} pairs, {len(made.test)} test questions{left}")


def _fields(columns: str | None) -> Fields | None:
    from comparisons.dataset.lettering import Fields
    from comparisons.util.errors import CompareError

    if columns is None:
        return None
    names = [name.strip() for name in columns.split(",")]
    if len(set(names)) != 3 or not all(names):
        raise CompareError(f"--columns takes three names as question,matching,contrast, not '{columns}'.")
    return Fields(*names)


@command.command()
@declared_option("data")
@JSON
def stats(data: Path | None, as_json: bool) -> None:
    """How many items there are, under which letters they match, how long they are.

    \b
    Example:
      compare data stats --data CAA/datasets
    """
    from comparisons.dataset.behaviors import Library
    from comparisons.dataset.checks import describe_all, description_table

    parts = describe_all(Library.open(data_for(data, [ModelSource()])))
    if as_json:
        click.echo(json.dumps([asdict(part) for part in parts]))
        return
    from comparisons.cli.tables import stdout
    from comparisons.report.terminal import rich_table

    console = stdout()
    console.print(rich_table(description_table(parts), console.width))


@command.command()
@declared_option("data")
@JSON
def validate(data: Path | None, as_json: bool) -> int:
    """Look for leaks into the test questions, repetitions, lopsided letters, telling lengths, and missing texts.

    Exit code 1 where something makes numbers wrong.

    \b
    Example:
      compare data validate --data CAA/datasets
    """
    from comparisons.dataset.behaviors import Library
    from comparisons.dataset.checks import check_all, counted

    library = Library.open(data_for(data, [ModelSource()]))
    findings = check_all(library)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
        errors = sum(finding.level == "error" for finding in findings)
        counts = (len(library.names), "behavior"), (errors, "error"), (len(findings) - errors, "warning")
        click.echo(", ".join(counted(count, what) for count, what in counts))
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _print(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from comparisons.cli.tables import stdout
    from comparisons.util.terminal import printable

    table = Table("level")
    for head in ("place", "finding", "what to do"):
        table.add_column(head, overflow="fold")
    for one in findings:
        place = ": ".join(filter(None, (one.behavior, one.part)))
        level = Text(one.level, "red" if one.level == "error" else "yellow")
        table.add_row(level, *(Text(printable(text)) for text in (place, one.text, one.mend)))
    if findings:
        stdout().print(table)
