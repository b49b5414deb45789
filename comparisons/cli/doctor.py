"""`compare doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.completion import methods
from comparisons.cli.options import machine_options

if TYPE_CHECKING:
    from comparisons.running.upkeep import Finding


@click.command("doctor")
@click.option("--artifacts", is_flag=True, help="Verify what checkpoints/ and reports/ hold, by checksums, instead.")
@click.option("--clean", is_flag=True, help="With --artifacts: remove what is damaged or left over.")
@click.option("--reports", type=click.Path(path_type=Path), help="With --artifacts: where the runs are.")
@click.option("--model", metavar="pocket|PATH|HUB_ID", help="Instead, estimate the memory that a model takes.")
@machine_options()
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="With --model: of a prompt.  [default: 192]")
@click.option("--prompts", type=click.IntRange(min=1), metavar="N", help="With --model: of a sweep.  [default: 50]")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="With --model: of a training.  [default: 16]")
@click.option(
    "--measure", is_flag=True, help="With --model: load it, sweep, and show what that takes beside the estimate."
)
@click.option("--method", metavar="NAME", help="With --measure: fit this method too.", shell_complete=methods)
@click.option("--json", "as_json", is_flag=True, help="With --model: print the estimate as JSON.")
def command(artifacts: bool, clean: bool, reports: Path | None, as_json: bool, **options: Any) -> int:
    """Check whether this machine is fit: packages, device, memory, the embedded model and data.

    With --artifacts, check whether fitted artifacts, judges' kept verdicts and runs are whole; with --clean too, remove
    what is damaged or left over and can be made again. A damaged run stays: its own command mends it.

    With --model, estimate from the configuration alone, of which a hub's model has nothing else fetched, what loading,
    sweeping and training take in memory, and what of it fits this machine or would with another option. The other
    options are those of a run, and count with --model only. With --measure too the model is loaded and tried, which
    tells how far the estimate holds on this machine, and how fast it is.

    Exit code 1 where something that a run needs is missing, something is damaged, or the model can't be loaded here.

    \b
    Examples:
      compare doctor
      compare doctor --model meta-llama/Llama-2-7b-chat-hf --quantize 4bit
      compare doctor --model pocket --measure --method sft
      compare doctor --artifacts --clean
    """
    if options["model"] is not None:
        if artifacts or clean or reports:
            raise click.UsageError("--model is a question of its own: leave out --artifacts, --clean and --reports.")
        return _estimate(as_json, **options)
    given = [name for name, value in options.items() if value not in (None, False, "auto")] + ["json"] * as_json
    if given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --model.")
    if artifacts:
        return _artifacts(clean, reports)
    if clean or reports:
        raise click.UsageError("--clean and --reports go with --artifacts.")
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.machine.doctor import checks

    table = Table("check", "", "what was found")
    found = checks()
    for check in found:
        table.add_row(check.name, {True: "ok", False: "no", None: "–"}[check.fit], check.found)
    stdout().print(table)
    return 1 if any(check.fit is False for check in found) else 0


def _estimate(
    as_json: bool,
    model: str,
    device: str,
    dtype: str,
    quantize: Any,
    blocks: str | None,
    trust_remote_code: bool,
    offload: Path | None,
    measure: bool,
    method: str | None,
    **load: int | None,
) -> int:
    from comparisons.machine.advice import NOWHERE, advise
    from comparisons.machine.memory import Load
    from comparisons.method.registry import Registry
    from comparisons.model.source import ModelSource

    if method is not None and not measure:
        raise click.UsageError("--method goes with --measure.")
    fitted = None if method is None else Registry().get(method)
    source = ModelSource(
        model, device, dtype, quantize, blocks=blocks, trust_remote_code=trust_remote_code, offload=offload
    )
    asked = Load(**{name: value for name, value in load.items() if value is not None})
    advice = advise(source, asked)
    measured = []
    if measure:
        from comparisons.machine.measured import measure as try_out

        measured = try_out(source, advice.asked.device, asked, fitted)
    if as_json:
        rows = {"measured": [asdict(row) for row in measured]} if measured else {}
        click.echo(json.dumps({**advice.to_json(), **rows}))
    else:
        from comparisons.cli.footprint import show, show_measured

        show(advice)
        if measured:
            show_measured(measured, advice.asked)
    return 1 if advice.verdicts()["loading"] == NOWHERE else 0


def _artifacts(clean: bool, reports: Path | None) -> int:
    from comparisons.running import upkeep
    from comparisons.running.job import CHECKPOINTS, REPORTS
    from comparisons.util.errors import CompareError

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
