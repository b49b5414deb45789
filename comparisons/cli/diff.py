"""`compare diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from comparisons.running.differences import Change, Differences
    from comparisons.util.table import Table

LONGEST = 40
"""Characters of a value that differs."""

HELP = """Show what changed between two runs, or how two cells of one run differ; paired by question, with intervals.

Two runs must have asked the same questions; model, seed, settings, program and machine may differ, and what differs is
listed. Cells are named as in summary.json, or by the end of that: caa/pos/1, baseline.

\b
Examples:
  compare diff reports/before reports/after
  compare diff reports/float32 reports/4bit --json
  compare diff reports/first sft/neg/1 sysprompt/neg/1
"""


@click.command("diff", help=HELP)
@click.argument("first", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("second", metavar="RUN|CELL")
@click.argument("third", required=False, metavar="[CELL]")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def command(first: Path, second: str, third: str | None, as_json: bool) -> None:
    if third is None:
        _runs(first, Path(second), as_json)
    else:
        _cells(first, second, third, as_json)


def _cells(run: Path, first: str, second: str, as_json: bool) -> None:
    """Two cells of a run."""
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
    """Two runs."""
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
