"""The bench's tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from comparisons.bench.measure import Row
from comparisons.bench.results import Figure, Results, Target

COLUMNS = (
    "work",
    "contender",
    "seconds",
    "ratio",
    "passes",
    "tokens",
    "floor",
    "ceiling",
    "of it",
    "difference",
    "MiB",
)
LEGEND = (
    "seconds: of the whole work, scaled where a part of it was timed (last column). ratio: to the plain loop. "
    "passes: in plain unsteered passes, one a question. floor: share of these seconds that the necessary matrix "
    "products take. ceiling: the ratio if every token cost the same. difference: largest from the plain loop; "
    "generation: share of answers that differ. MiB: peak above what was in use before."
)
FIGURES: dict[Figure, str] = {
    "ratio": "ratio to the plain loop",
    "passes": "in plain passes",
    "ceiling_share": "share of the ceiling",
    "floor_share": "share of the floor",
    "difference": "largest difference of p_match",
    "peak_memory_bytes": "peak MiB above the weights",
}


def rendered(results: Results) -> Group:
    """What was timed, the table of contenders, and the targets where the subject has some."""
    parts: list[Text | Table] = [Text(line) for line in heading(results)]
    parts += [contenders_table(results.rows), Text(LEGEND), *absent(results.rows), Text()]
    if results.targets:
        parts.append(targets_table(results.targets))
    return Group(*parts)


def heading(results: Results) -> list[str]:
    """The subject and the machine."""
    subject, place, sizes = results.subject, results.machine, results.sizes
    return [
        f"{subject['name']}: {subject['parameters'] / 1e6:,.1f}M parameters, {subject['blocks']} blocks of "
        f"{subject['width']}, {subject['dtype']}; prompts of {sizes.tokens} tokens",
        f"{place['device']}: {place['processor']}, {place['threads']} threads, torch {place['torch']}, transformers "
        f"{place['transformers']}, {place['date']}",
        f"matrix products at {results.matrix_rate / 1e9:,.0f} GFLOP/s; median of {sizes.repeats} turns",
        "",
    ]


def absent(rows: tuple[Row, ...]) -> list[Text]:
    """A line for each contender that is not installed."""
    return [Text(f"{name}: not installed") for name in sorted({row.contender for row in rows if row.seconds is None})]


def contenders_table(rows: tuple[Row, ...]) -> Table:
    """A row for each work and contender that is installed."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    table.add_column("timed", no_wrap=True)
    present = [row for row in rows if row.seconds is not None]
    for row, following in zip(present, [*present[1:], None], strict=True):
        last = following is not None and following.work != row.work
        table.add_row(row.work, *_cells(row), end_section=last)
    return table


def _cells(row: Row) -> list[str]:
    share, times = "{:.0%}".format, "{:.2f}×".format
    return [
        row.contender,
        _shown(row.seconds, "{:,.2f}".format),
        _shown(row.ratio, times),
        _shown(row.passes, "{:,.2f}".format),
        _shown(row.tokens, "{:,}".format),
        _shown(row.floor_share, share),
        _shown(row.ceiling, times),
        _shown(row.ceiling_share, share),
        _shown(row.difference, "{:.1e}".format),
        _shown(row.peak_memory_bytes, lambda size: f"{size / 2**20:,.0f}"),
        row.timed,
    ]


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)


def targets_table(targets: list[tuple[Target, float]]) -> Table:
    """Each target beside what was measured."""
    table = Table("target", "", "measured", "", box=SIMPLE_HEAD)
    for target, value in targets:
        bound = f"{'at least' if target.at_least else 'at most'} {figure(target.figure, target.bound)}"
        name = f"{', '.join(target.works)}: {FIGURES[target.figure]}"
        table.add_row(name, bound, figure(target.figure, value), "met" if target.met(value) else "missed")
    return table


def figure(name: Figure, value: float) -> str:
    """A target's figure as it is shown."""
    if name in ("ceiling_share", "floor_share"):
        return f"{value:.0%}"
    if name == "peak_memory_bytes":
        return f"{value / 2**20:,.0f}"
    return f"{value:.1e}" if name == "difference" else f"{value:.2f}"
