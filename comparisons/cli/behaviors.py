"""`compare behaviors`."""

from __future__ import annotations

from pathlib import Path

import click

from comparisons.cli.options import declared_option


@click.command("behaviors")
@declared_option("data")
def command(data: Path | None) -> None:
    """List the behaviors of the embedded data, or of a folder or file.

    \b
    Example:
      compare behaviors --data DIR
    """
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.dataset.behaviors import Library

    table = Table("behavior", "pairs", "test", "open-ended", "system prompts", "what it is")
    library = Library.open(data)
    for name in library.names:
        found = library.behavior(name)
        table.add_row(
            name,
            str(len(found.train)),
            str(len(found.test)),
            str(len(found.open_ended)),
            "yes" if found.prompts else "no",
            found.description or "",
        )
    stdout().print(table)
