"""Methods over all behaviors of a run: their mean shifts and differences, and where the order turns."""

from __future__ import annotations

from collections.abc import Callable

from comparisons.report.blocks import Block, Bullets, Folded, Paragraph, section
from comparisons.report.markdown import escaped
from comparisons.results.record import Record
from comparisons.results.schema import Pooled
from comparisons.util.table import NOTHING, Column, Table, count, interval, number

TEXT = (
    "The random-effects mean over behaviors, towards the direction asked for. Behaviors differ by more than their "
    "questions do: the standard deviation between them is τ (Paule and Mandel), the interval of the mean is that of "
    "Hartung and Knapp, and *another behavior* is where that of a further behavior of this kind would lie in 95% of "
    "cases. *Over all* holds over all lines of the direction at once. Each behavior has fits of its own, so that what "
    "seeds add to one of them is part of τ."
)

LINES: tuple[tuple[Column, Callable[[Pooled], str]], ...] = (
    (Column("method", align="left"), lambda p: _named(p["name"], p["strength"])),
    (Column("against", align="left"), lambda p: _named(p["against"], p["against_strength"])),
    (Column("direction", align="left"), lambda p: p["direction"]),
    (Column("behaviors"), lambda p: count(p["n_behaviors"])),
    (Column("mean"), lambda p: number(p["mean"], signed=True)),
    (Column("95% CI", interval=True), lambda p: interval(p["ci"])),
    (Column("over all"), lambda p: interval(p["simultaneous_ci"])),
    (Column("τ"), lambda p: number(p["tau"])),
    (Column("another behavior"), lambda p: interval(p["prediction"])),
    (Column("the other sign in", align="left"), lambda p: ", ".join(p["turns"]) or NOTHING),
)


def pooled_section(record: Record) -> list[Block]:
    """What methods do over behaviors; nothing where fewer than three have a method."""
    pooled = record.summary.pooled
    if not pooled:
        return []
    shifts, pairs = ([each for each in pooled if (each["against"] is None) == alone] for alone in (True, False))
    blocks = section("Over all behaviors", Paragraph(TEXT), Table.of(LINES, shifts, _model).without_empty())
    turning = [_turning(each) for each in pairs if each["turns_surely"]]
    if turning:
        blocks += [Paragraph("The order of two methods turns:"), Bullets(tuple(map(escaped, turning)))]
    return (
        [*blocks, Folded("Methods against each other, over all behaviors", Table.of(LINES, pairs, _model))]
        if pairs
        else blocks
    )


def _turning(pooled: Pooled) -> str:
    """A pair of which some behaviors surely have the other order than the mean."""
    names = _named(pooled["name"], pooled["strength"]), _named(pooled["against"], pooled["against_strength"])
    ahead, behind = names if pooled["mean"] > 0 else names[::-1]
    listed = ", ".join(pooled["turns_surely"])
    return f"Towards {pooled['direction']}, {ahead} is ahead of {behind} in the mean, and surely behind for {listed}."


def _model(pooled: Pooled) -> str:
    return pooled["model"]


def _named(name: str | None, strength: float | None) -> str:
    if name is None or strength is None:
        return NOTHING
    return name if strength == 1 else f"{name} {strength:g}"
