"""The tables of a run: what stands in which column, and which columns matter most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comparisons.results.findings import is_broken
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, memory, number, p_value, share

BROKEN_CELLS = (
    "Broken cells put more than half of the probability on something other than the two letters: a shift of theirs "
    "would say little."
)
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


Cell = Callable[[SummaryRow], str]


def _shift(row: SummaryRow) -> str:
    if is_broken(row):
        return broken_text(row)
    return "failed" if row.failed else number(row.shift, signed=True)


def broken_text(row: SummaryRow) -> str:
    """What stands in the place of a broken cell's shift."""
    return "broken" if row.lost_mass is None else f"broken (lost mass {f'{row.lost_mass:.2f}'.removeprefix('0')})"


def cell_name(row: SummaryRow) -> str:
    return f"{row.name} (control)" if row.control else row.name


def _sound(cell: Cell) -> Cell:
    """A number that says little where the cell is broken, and is not shown there."""
    return lambda row: NOTHING if is_broken(row) else cell(row)


MAIN: tuple[tuple[Column, Cell], ...] = (
    (Column("method", align="left"), cell_name),
    (Column("direction", align="left"), lambda row: row.direction or NOTHING),
    (Column("strength", rank=5), lambda row: NOTHING if row.is_baseline else f"{row.strength:g}"),
    (Column("layer", rank=4), lambda row: NOTHING if row.layer is None else str(row.layer)),
    (Column("p_match", rank=3), lambda row: number(row.p_match)),
    (Column("95% CI", rank=7, interval=True), lambda row: interval(row.p_match_ci)),
    (Column("shift"), _shift),
    (Column("95% CI", interval=True), _sound(lambda row: interval(row.shift_ci))),
    (Column("p", rank=8), _sound(lambda row: p_value(row.p_value))),
    (Column("p (Holm)", rank=2), _sound(lambda row: p_value(row.p_holm))),
    (Column("p (random)", rank=6), _sound(lambda row: p_value(row.random_rank_p))),
    (Column("p (matched)", rank=3), _sound(lambda row: p_value(row.matched_rank_p))),
    (Column("cost", rank=1), lambda row: number(row.cost, signed=True)),
    (Column("95% CI", rank=6, interval=True), lambda row: interval(row.cost_ci)),
    (Column("letter bias", rank=9), lambda row: number(row.letter_bias, signed=True)),
    (Column("lost mass", rank=10), lambda row: number(row.lost_mass)),
    (Column("anti-steerable", rank=11), _sound(lambda row: share(row.anti_steerable))),
    (Column("content shift", rank=12), _sound(lambda row: number(row.content_shift, signed=True))),
    (Column("95% CI", rank=14, interval=True), _sound(lambda row: interval(row.content_shift_ci))),
    (Column("letter shift", rank=13), _sound(lambda row: number(row.letter_shift, signed=True))),
    (Column("95% CI", rank=15, interval=True), _sound(lambda row: interval(row.letter_shift_ci))),
    (Column("letter cosine", rank=16), lambda row: number(row.letter_cosine, signed=True)),
)

LEDGER: tuple[tuple[Column, Cell], ...] = (
    (Column("behavior", align="left"), lambda row: row.subject),
    (Column("method", align="left"), cell_name),
    (Column("direction", align="left"), lambda row: row.direction or NOTHING),
    (Column("strength"), lambda row: NOTHING if row.is_baseline else f"{row.strength:g}"),
    (Column("training pairs"), lambda row: count(row.examples)),
    (Column("trials on dev"), lambda row: count(row.tuning_trials)),
    (Column("tokens to fit"), lambda row: count(row.fit_tokens)),
    (Column("tokens to evaluate"), lambda row: count(row.tokens_run)),
    (Column("fit, s"), lambda row: _seconds(row.fit_seconds)),
    (Column("evaluation, s"), lambda row: _seconds(row.eval_seconds)),
    (Column("peak memory"), lambda row: memory(row.peak_memory_bytes)),
    (Column("trainable parameters"), lambda row: count(row.trainable_parameters)),
    (Column("stored"), lambda row: _size(row.stored_bytes)),
)


def main_table(rows: Sequence[SummaryRow]) -> Table:
    """The table of shifts and costs; with several strengths the strength is as important as the method."""
    several = any(
        row.strength != other.strength
        for row, other in _neighbors(rows)
        if row.name == other.name and row.subject == other.subject
    )
    found = _marked(_table(MAIN, rows), rows)
    if several:
        columns = tuple(Column("strength") if c.title == "strength" else c for c in found.columns)
        found = Table(columns, found.rows, found.notes)
    return found.without_empty()


def ledger_table(rows: Sequence[SummaryRow]) -> Table:
    """What each cell took in data, time, memory and parameters; failed cells took nothing that is known."""
    found = _table(LEDGER, [row for row in rows if not row.failed]).without_empty()
    return Table(found.columns, found.rows)


def _marked(table: Table, rows: Sequence[SummaryRow]) -> Table:
    """The table with a footnote mark behind the number of each row that has a warning."""
    texts = list(dict.fromkeys(text for row in rows for text in row.warnings))
    if not texts:
        return table
    titles = [column.title for column in table.columns]
    lines = []
    for line, row in zip(table.rows, rows, strict=True):
        # A baseline has no shift: its number is p_match.
        place = titles.index("p_match" if row.is_baseline else "shift")
        marks = ",".join(_mark(texts.index(text)) for text in row.warnings)
        cells = tuple(f"{cell} {marks}".rstrip() if i == place else cell for i, cell in enumerate(line.cells))
        lines.append(Row(cells, line.group, line.failed))
    return Table(table.columns, tuple(lines), (*(f"{_mark(i)} {text}" for i, text in enumerate(texts)), *table.notes))


def _mark(place: int) -> str:
    return str(place + 1).translate(SUPERSCRIPTS)


def _size(value: int | None) -> str:
    """Bytes in KiB, MiB or GiB."""
    return f"{value / 2**10:.0f} KiB" if value is not None and value < 2**20 else memory(value)


def describe(row: SummaryRow) -> str:
    """A cell's name in words: stack, direction and strength."""
    return row.name if row.is_baseline else f"{row.name} {row.direction} at strength {row.strength:g}"


def _table(shape: Sequence[tuple[Column, Cell]], rows: Sequence[SummaryRow]) -> Table:
    several = len({row.subject for row in rows}) > 1
    where = {id(row): f"{row.subject}: " if several else "" for row in rows}
    failures = [f"{where[id(r)]}{describe(r)} failed: {r.error or 'no reason was kept'}" for r in rows if r.failed]
    broken = [BROKEN_CELLS] if any(map(is_broken, rows)) else []
    cells = tuple(Row(tuple(cell(row) for _, cell in shape), row.subject, row.failed) for row in rows)
    return Table(tuple(column for column, _ in shape), cells, (*failures, *broken))


def _neighbors(rows: Sequence[SummaryRow]) -> list[tuple[SummaryRow, SummaryRow]]:
    """Pairs of cells; equal stacks stand close, but not always side by side."""
    seen: dict[tuple[str, str], SummaryRow] = {}
    return [(seen.setdefault((row.subject, row.name), row), row) for row in rows]


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
