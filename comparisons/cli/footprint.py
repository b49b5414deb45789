"""Shows what memory a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comparisons.machine.advice import Advice
    from comparisons.machine.measured import Measured
    from comparisons.machine.memory import Footprint

TITLES = {"loading": "loading", "sweeping": "sweeping", "training": "training", "training_full": "training in full"}


def show(found: Advice) -> None:
    """Prints a table of bytes a phase with what fits, and a line a phase of what to do."""
    from rich.table import Table

    from comparisons.cli.tables import stdout

    out = stdout()
    shape = found.shape
    out.print(
        f"{found.model}: {shape.parameters:,} parameters, {shape.blocks} blocks of width {shape.width:,}, "
        f"stored as {shape.dtype}"
    )
    table = Table("on", "weights as", *TITLES.values())
    for row in (found.asked, *found.others):
        fits, phases = found.fits(row), row.phases()
        cells = [f"{gigabytes(phases[p])} {'fits' if fits[p] else 'no'}" if p in phases else "–" for p in TITLES]
        table.add_row({"cpu": "memory", "cuda": "GPU"}[row.device], _weights(row, found.asked), *cells)
    out.print(table)
    gpus = " + ".join(map(gigabytes, found.machine.gpus)) or "none"
    out.print(f"this machine: {gigabytes(found.machine.ram)} of memory free; GPUs: {gpus}")
    for phase, verdict in found.verdicts().items():
        out.print(f"{TITLES[phase]}: {verdict}")


def show_measured(rows: Sequence[Measured], asked: Footprint) -> None:
    """Prints what the phases took beside what was estimated."""
    from rich.table import Table

    from comparisons.cli.tables import stdout

    units = {"sweeping": "prompts/s", "training": "batches/s"}
    table = Table("measured", "estimate", "peak", "of it", "seconds", "speed")
    for row in rows:
        expected = asked.phases()[row.phase]
        share = "–" if row.peak_bytes is None else f"{row.peak_bytes / expected:.0%}"
        speed = "–" if row.rate is None else f"{row.rate:,.2f} {units[row.phase]}"
        peak = gigabytes(row.peak_bytes)
        table.add_row(TITLES[row.phase], gigabytes(expected), peak, share, f"{row.seconds:,.1f}", speed)
    stdout().print(table)


def gigabytes(count: int | None) -> str:
    """Bytes for people."""
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"


def _weights(row: Footprint, asked: Footprint) -> str:
    name = f"{row.quantize}, rest {row.dtype}" if row.quantize else row.dtype
    return f"{name} (as asked)" if row is asked else name
