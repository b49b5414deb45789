"""`compare check-method`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.cli.completion import lists, methods
from comparisons.cli.options import JSON, declared_option

if TYPE_CHECKING:
    from comparisons.method.checks import Check

STYLES = {"holds": "green", "fails": "red", "not tried": "dim"}


@click.command("check-method")
@click.argument("name", shell_complete=lists(methods))
@declared_option("plugins")
@JSON
def command(name: str, plugins: Path | None, as_json: bool) -> int:
    """Try a method on a tiny random model: what holds of it, and what fails.

    Exit code 1 where something fails.

    \b
    Examples:
      compare check-method caa
      compare check-method loud --plugins my_methods
    """
    from comparisons.method.conformance import examine_method
    from comparisons.method.registry import Registry

    checks = examine_method(Registry(plugins).get(name))
    failed = sum(check.status == "fails" for check in checks)
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks]))
    else:
        _print(checks)
        told = f"{failed} of {len(checks)} checks {'fails' if failed == 1 else 'fail'}" if failed else "a sound method"
        click.echo(f"{name}: {told}.")
    return 1 if failed else 0


def _print(checks: tuple[Check, ...]) -> None:
    from rich.text import Text

    from comparisons.cli.tables import stdout
    from comparisons.util.text import printable

    console = stdout()
    for check in checks:
        text = Text(printable(str(check)))
        text.stylize(STYLES[check.status], 0, len(check.status))
        console.print(text, soft_wrap=True)
