"""`compare methods`."""

from __future__ import annotations

from pathlib import Path

import click

from comparisons.cli.options import declared_option


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
