"""`compare doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from comparisons.upkeep import Finding


@click.command("doctor")
@click.option("--artifacts", is_flag=True, help="Verify what checkpoints/ and reports/ hold, by checksums, instead.")
@click.option("--clean", is_flag=True, help="With --artifacts: remove what is damaged or left over.")
@click.option("--reports", type=click.Path(path_type=Path), help="With --artifacts: where the runs are.")
def command(artifacts: bool, clean: bool, reports: Path | None) -> int:
    """Check whether this machine is fit: packages, device, memory, the embedded model and data.

    With --artifacts, check whether fitted artifacts, judges' kept verdicts and runs are whole; with --clean too, remove
    what is damaged or left over and can be made again. A damaged run stays: its own command mends it.

    Exit code 1 where something that a run needs is missing, or something is damaged.

    \b
    Examples:
      compare doctor
      compare doctor --artifacts --clean
    """
    if artifacts:
        return _artifacts(clean, reports)
    if clean or reports:
        raise click.UsageError("--clean and --reports go with --artifacts.")
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.doctor import checks

    table = Table("check", "", "what was found")
    found = checks()
    for check in found:
        table.add_row(check.name, {True: "ok", False: "no", None: "–"}[check.fit], check.found)
    stdout().print(table)
    return 1 if any(check.fit is False for check in found) else 0


def _artifacts(clean: bool, reports: Path | None) -> int:
    from comparisons import upkeep
    from comparisons.errors import CompareError
    from comparisons.job import CHECKPOINTS, REPORTS

    if reports is not None and not reports.is_dir():
        raise CompareError(f"--reports {reports}: there is no such folder.")
    found = upkeep.look_through(CHECKPOINTS, reports or REPORTS)
    removed = upkeep.clean(found) if clean else []
    for finding in found:
        if finding.state != "whole":
            gone = " (removed)" if finding.path in removed else ""
            click.echo(f"{finding.state}: {finding.text if finding.state == 'damaged' else _line(finding)}{gone}")
    counts = {state: sum(finding.state == state for finding in found) for state in ("whole", "damaged", "left over")}
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()) + f"; {len(removed)} removed" * clean)
    return 1 if any(f.state == "damaged" and f.path not in removed for f in found) else 0


def _line(finding: Finding) -> str:
    return f"{finding.path}: {finding.text}"
