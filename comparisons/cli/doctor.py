"""`compare doctor`."""

from __future__ import annotations

import click


@click.command("doctor")
def command() -> int:
    """Check whether this machine is fit: packages, device, memory, the embedded model and data.

    Exit code 1 where something that a run needs is missing.

    \b
    Example:
      compare doctor
    """
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.doctor import checks

    table = Table("check", "", "what was found")
    found = checks()
    for check in found:
        table.add_row(check.name, {True: "ok", False: "no", None: "–"}[check.fit], check.found)
    stdout().print(table)
    return 1 if any(check.fit is False for check in found) else 0
