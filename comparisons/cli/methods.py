"""`compare methods` and `evaluations`: what there is; `new-method`, and the checks of a method and an evaluation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.cli.options import JSON, declared_option, lists, method_names

if TYPE_CHECKING:
    from comparisons.experiment.specification import SettingTexts
    from comparisons.method.checks import Check

STYLES = {"holds": "green", "fails": "red", "not tried": "dim"}


@click.command("methods")
@declared_option("plugins")
def command(plugins: Path | None) -> None:
    """List the methods, what they do, and their settings with defaults.

    \b
    Example:
      compare methods --plugins my_methods/
    """
    from rich.markup import escape
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.method.registry import Registry

    table = Table("method", "what it does", "role", "settings")
    for info in Registry(plugins).describe():
        if info.error is not None:
            table.add_row(escape(info.name), escape(f"broken: {info.error}"), "", escape(info.source))
            continue
        settings = "\n".join(f"{s.name}={s.default}  ({s.type})" for s in info.settings)
        role = str(info.role) if info.dosed else f"{info.role}, no dose"
        table.add_row(escape(info.name), escape(info.summary), role, escape(settings))
    stdout().print(table)


@click.command("new-method")
@click.argument("name")
@click.option("--package", is_flag=True, help="Write a package that brings the method by an entry point.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder; by default my_methods, or compare-NAME for a package."
)
def new(name: str, package: bool, out: Path | None) -> None:
    """Write a method that works as it is, with its test, to be changed into yours.

    \b
    Examples:
      compare new-method loud
      compare new-method loud --package --out compare-loud
    """
    from comparisons.method.registry import checked_name, new_method, new_package

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


@click.command("check-method")
@click.argument("name", shell_complete=lists(method_names))
@declared_option("plugins")
@JSON
def check(name: str, plugins: Path | None, as_json: bool) -> int:
    """Try a method on a tiny random model: what holds of it, and what fails.

    Exit code 1 where something fails.

    \b
    Examples:
      compare check-method caa
      compare check-method loud --plugins my_methods
    """
    from comparisons.method.conformance import examine_method
    from comparisons.method.registry import Registry

    return show_checks(name, examine_method(Registry(plugins).get(name)), as_json, "a sound method")


def show_checks(name: str, checks: Sequence[Check], as_json: bool, sound: str) -> int:
    """Prints what came of checks, and returns the exit code; `sound` is what it is of which all hold."""
    failed = sum(check.status == "fails" for check in checks)
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks]))
    else:
        _print(checks)
        failing = f"{failed} of {len(checks)} checks {'fails' if failed == 1 else 'fail'}"
        click.echo(f"{name}: {failing if failed else sound}.")
    return 1 if failed else 0


def _print(checks: Sequence[Check]) -> None:
    from rich.text import Text

    from comparisons.cli.tables import stdout
    from comparisons.util.terminal import printable

    console = stdout()
    for check in checks:
        text = Text(printable(str(check)))
        text.stylize(STYLES[check.status], 0, len(check.status))
        console.print(text, soft_wrap=True)


@click.command("evaluations")
@declared_option("evaluations")
def listed_evaluations(evaluations: Path | None) -> None:
    """List the evaluations, what they measure, and their settings with defaults.

    \b
    Example:
      compare evaluations --evaluations my_evaluations/
    """
    from rich.markup import escape
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.evaluation.registry import EvaluationRegistry

    table = Table("evaluation", "what it measures", "settings")
    for info in EvaluationRegistry(evaluations).describe():
        if info.error is not None:
            table.add_row(escape(info.name), escape(f"broken: {info.error}"), escape(info.source))
            continue
        settings = "\n".join(f"{s.name}={s.default or 'VALUE'}  ({s.type})" for s in info.settings)
        table.add_row(escape(info.name), escape(info.summary), escape(settings))
    stdout().print(table)


@click.command("check-evaluation")
@click.argument("name")
@declared_option("evaluations")
@declared_option("settings", help="Of the evaluation.", metavar="NAME.FIELD=VALUE")
@JSON
def check_evaluation(name: str, evaluations: Path | None, settings: SettingTexts, as_json: bool) -> int:
    """Try an evaluation on a tiny random model: what holds of it, and what fails.

    NAME is an evaluation's, or the file of one. Exit code 1 where something fails.

    \b
    Examples:
      compare check-evaluation robustness
      compare check-evaluation my_evaluations/brevity.py
    """
    from comparisons.evaluation.conformance import examine_evaluation
    from comparisons.evaluation.registry import EvaluationRegistry, settings_of
    from comparisons.method.settings import parse_settings

    if name.endswith(".py"):
        evaluations, name = Path(name).parent, Path(name).stem
    made = parse_settings(EvaluationRegistry(evaluations).get(name), settings_of(name, settings), name)
    return show_checks(name, examine_evaluation(made, name), as_json, "a sound evaluation")
