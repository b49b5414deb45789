"""`compare new-method`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("new-method")
@click.argument("name")
@click.option("--package", is_flag=True, help="Write a package that brings the method by an entry point.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder; by default my_methods, or compare-NAME for a package."
)
def command(name: str, package: bool, out: Path | None) -> None:
    """Write a method that works as it is, with its test, to be changed into yours.

    \b
    Examples:
      compare new-method loud
      compare new-method loud --package --out compare-loud
    """
    from comparisons.method.scaffold import checked_name, new_method, new_package

    stem = checked_name(name, None)
    folder = out or Path(f"compare-{stem.replace('_', '-')}" if package else "my_methods")
    for path in (new_package if package else new_method)(name, folder):
        click.echo(path)
    place = shlex.quote(str(folder))
    plugins = "" if package else f" --plugins {place}"
    click.echo("\nNext:")
    for step in (
        *([f"pip install -e {place}"] if package else []),
        f"compare check-method {stem}{plugins}",
        f"compare run --behavior refusal --methods {stem}{plugins}",
        f"python -m pytest {place}",
    ):
        click.echo(f"  {step}")
