"""The tables of a run: what stands in which column, and which columns matter most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from comparisons.results.findings import is_broken, noise_texts
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, memory, number, p_value, share

BROKEN_CELLS = (
    "Broken cells put more than half of the probability on something other than the two letters: a shift of theirs "
    "would say little."
)
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Cell = Callable[[SummaryRow], str]


def broken_text(row: SummaryRow) -> str:
    """What stands in the place of a broken cell's shift."""
    return "broken" if row.lost_mass is None else f"broken (lost mass {f'{row.lost_mass:.2f}'.removeprefix('0')})"


def cell_name(row: SummaryRow) -> str:
    """A cell's stack, and whether it is a control."""
    return f"{row.name} (control)" if row.control else row.name


def describe(row: SummaryRow) -> str:
    """A cell's name in words: stack, direction and strength."""
    return row.name if row.is_baseline else f"{row.name} {row.direction} at strength {row.strength:g}"


def direction_text(row: SummaryRow) -> str:
    """A cell's direction."""
    return row.direction or NOTHING


def strength_text(row: SummaryRow) -> str:
    """A cell's dose; the baseline has none."""
    return NOTHING if row.is_baseline else f"{row.strength:g}"


def _sound(cell: Cell) -> Cell:
    """A number that says little where the cell is broken, and is not shown there."""
    return lambda row: NOTHING if is_broken(row) else cell(row)


def preferred(row: SummaryRow) -> str:
    """The share of questions whose matching answer is the likelier one, where texts were measured."""
    return share(row.preferred) if row.measure == "answers" else NOTHING


def _shift(row: SummaryRow) -> str:
    if is_broken(row):
        return broken_text(row)
    return "failed" if row.failed else number(row.shift, signed=True)


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


MAIN: tuple[tuple[Column, Cell], ...] = (
    (Column("method", align="left"), cell_name),
    (Column("direction", align="left"), direction_text),
    (Column("strength", rank=5), strength_text),
    (Column("layer", rank=4), lambda row: NOTHING if row.layer is None else str(row.layer)),
    (Column("p_match", rank=3, opens="choices"), lambda row: number(row.p_match)),
    (Column("95% CI", rank=7, interval=True), lambda row: interval(row.p_match_ci)),
    (Column("shift", opens="choices"), _shift),
    (Column("95% CI", interval=True), _sound(lambda row: interval(row.shift_ci))),
    (Column("p", rank=8), _sound(lambda row: p_value(row.p_value))),
    (Column("p (Holm)", rank=2), _sound(lambda row: p_value(row.p_holm))),
    (Column("p (random)", rank=6), _sound(lambda row: p_value(row.random_rank_p))),
    (Column("p (matched)", rank=3), _sound(lambda row: p_value(row.matched_rank_p))),
    (Column("cost", rank=1, opens="knowledge"), lambda row: number(row.cost, signed=True)),
    (Column("95% CI", rank=6, interval=True), lambda row: interval(row.cost_ci)),
    (Column("cost at most", rank=7), lambda row: number(row.cost_bound, signed=True)),
    (Column("letter bias", rank=9), lambda row: number(row.letter_bias, signed=True)),
    (Column("lost mass", rank=10), lambda row: number(row.lost_mass)),
    (Column("preferred", rank=10), lambda row: preferred(row)),
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
    (Column("direction", align="left"), direction_text),
    (Column("strength", rank=2), strength_text),
    (Column("training pairs", rank=4), lambda row: count(row.examples)),
    (Column("trials on dev", rank=4), lambda row: count(row.tuning_trials)),
    (Column("tokens to fit", rank=3), lambda row: count(row.fit_tokens)),
    (Column("tokens to evaluate", rank=3), lambda row: count(row.tokens_run)),
    (Column("fit, s"), lambda row: _seconds(row.fit_seconds)),
    (Column("evaluation, s"), lambda row: _seconds(row.eval_seconds)),
    (Column("peak memory", rank=2), lambda row: memory(row.peak_memory_bytes)),
    (Column("trainable parameters"), lambda row: count(row.trainable_parameters)),
    (Column("stored", rank=1), lambda row: memory(row.stored_bytes)),
)


def main_table(rows: Sequence[SummaryRow]) -> Table:
    """The table of shifts and costs; with several strengths the strength is as important as the method."""
    broken = [BROKEN_CELLS] if any(map(is_broken, rows)) else []
    notes = [*_failures(rows), *broken, *noise_texts(rows)]
    table = _marked(Table.of(MAIN, rows, lambda row: row.subject, notes), rows)
    strengths: dict[tuple[str, str], set[float]] = {}
    for row in rows:
        strengths.setdefault((row.subject, row.name), set()).add(row.strength)
    if any(len(several) > 1 for several in strengths.values()):
        columns = tuple(Column("strength") if c.title == "strength" else c for c in table.columns)
        table = replace(table, columns=columns)
    return table.without_empty()


def ledger_table(rows: Sequence[SummaryRow]) -> Table:
    """What each cell took in data, time, memory and parameters; failed cells took nothing that is known."""
    return Table.of(LEDGER, [row for row in rows if not row.failed], lambda row: row.subject).without_empty()


def placed_table(
    titles: Sequence[Column],
    lines: Sequence[tuple[SummaryRow, Sequence[str]]],
    rows: Sequence[SummaryRow],
    rank: int,
    notes: Sequence[str] = (),
) -> Table:
    """A table whose lines begin with behavior, method, direction and strength, where these tell lines apart.

    Args:
        titles: the further columns.
        lines: the cell or baseline of each line, and its further texts.
        rows: of the run.
        rank: of the column of strengths.
        notes: what must be said below.
    """
    dropped = {
        "behavior": len({row.subject for row in rows}) == 1,
        "strength": len({row.strength for row, _ in lines if not row.is_baseline}) < 2,
    }
    places = (*(Column(title, align="left") for title in PLACE), Column("strength", rank=rank))
    made = tuple(Row((*place(row), *texts), row.subject, cell=row.cell) for row, texts in lines)
    return Table((*places, *titles), made, tuple(notes)).keeping(lambda i, column: not dropped.get(column.title))


PLACE = ("behavior", "method", "direction")


def place(row: SummaryRow) -> tuple[str, str, str, str]:
    """Behavior, method, direction and strength of a cell."""
    return row.subject, cell_name(row), direction_text(row), strength_text(row)


def _failures(rows: Sequence[SummaryRow]) -> list[str]:
    several = len({row.subject for row in rows}) > 1
    where = {row.subject: f"{row.subject}: " if several else "" for row in rows}
    failed = [row for row in rows if row.failed]
    return [f"{where[row.subject]}{describe(row)} failed: {row.error or 'no reason was kept'}" for row in failed]


def _marked(table: Table, rows: Sequence[SummaryRow]) -> Table:
    """The table of the rows, with those that failed marked so, and a footnote mark behind the number of a warning."""
    texts = list(dict.fromkeys(text for row in rows for text in row.warnings))
    titles = [column.title for column in table.columns]
    lines = []
    for line, row in zip(table.rows, rows, strict=True):
        # A baseline has no shift: its number is p_match.
        number_at = titles.index("p_match" if row.is_baseline else "shift")
        marks = ",".join(_mark(texts.index(text)) for text in row.warnings)
        cells = tuple(f"{cell} {marks}".rstrip() if i == number_at else cell for i, cell in enumerate(line.cells))
        lines.append(replace(line, cells=cells, failed=row.failed, cell=row.cell))
    return Table(table.columns, tuple(lines), (*(f"{_mark(i)} {text}" for i, text in enumerate(texts)), *table.notes))


def _mark(number_of: int) -> str:
    return str(number_of + 1).translate(SUPERSCRIPTS)
