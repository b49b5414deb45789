"""Free answers in the report: how judges scored them, what they are like, and the answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comparisons.report.blocks import Block, Bullets, Folded, Heading, Paragraph, section
from comparisons.report.judging import Judged, by_judge, judge_table, judged, short, trust
from comparisons.report.markdown import escaped
from comparisons.report.table import cell_name
from comparisons.results.record import Facts, Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number

SAMPLES = 2
"""Prompts of a behavior whose answers stand in the report; a page has the others too."""

MOST_ANSWERS = 5000
"""Answers on a page: more would make it slow."""

OPEN_TEXT = "Each cell also answers the behavior's open-ended prompts, freely and greedily."
SCORES_TEXT = (
    "A judge scores an answer from 0 to 10 by the behavior's rubric; *score* is the mean over the answers that it "
    "could score, and the shift is against the baseline's answers, paired by prompt. *Sign* says whether that shift "
    "has the sign of the shift on the choices: where it hasn't, the letters moved and the free answers didn't follow."
)
QUALITY_TEXT = (
    "What the answers are like, whoever judges them. *Length* is in words; *repetition* is the share of runs of four "
    "words that stood in the answer before; *fluency* is the mean log-likelihood a token of the answer under the "
    "unchanged model, in nats, for every method alike. A fluency far below the baseline's, or much repetition, says "
    "that the text is broken, whatever its score."
)

_PLACE = (
    Column("behavior", align="left"),
    Column("method", align="left"),
    Column("direction", align="left"),
    Column("strength", rank=3),
)
SCORES = (
    *_PLACE,
    Column("judge", align="left", rank=2),
    Column("scored", rank=4),
    Column("score"),
    Column("95% CI", rank=6, interval=True),
    Column("shift"),
    Column("95% CI", rank=1, interval=True),
    Column("sign", align="left"),
)
QUALITIES = (
    *_PLACE,
    Column("answers", rank=4),
    Column("length"),
    Column("repetition"),
    Column("fluency"),
    Column("fluency's change"),
    Column("95% CI", rank=1, interval=True),
)


def score_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and judge; None where no answer was asked for or judged."""
    asked = [(row, judge, found) for row, judges in judged(rows) for judge, found in judges.items()]
    if not asked:
        return None
    lines = [Row((*_place(row), judge, *_score(found)), row.subject) for row, judge, found in asked]
    one_judge = len({judge for _, judge, _ in asked}) == 1
    return _telling(Table(SCORES, tuple(lines)), rows, ("judge",) if one_judge else ())


def _score(found: Judged) -> tuple[str, ...]:
    sign = {True: "same", False: "opposite", None: NOTHING}[found["agrees"]]
    return (
        count(found["n_scored"]),
        short(found["score"]),
        _short_interval(found["score_ci"]),
        short(found["shift"], signed=True),
        _short_interval(found["shift_ci"]),
        sign,
    )


def quality_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell that answered; None where none did."""
    asked = [(row, row.open_ended) for row in rows if row.open_ended]
    if not asked:
        return None
    return _telling(Table(QUALITIES, tuple(Row((*_place(r), *_quality(f)), r.subject) for r, f in asked)), rows)


def _quality(found: Judged) -> tuple[str, ...]:
    return (
        count(found["n_answers"]),
        short(found["length"]),
        number(found["repetition"]),
        number(found["fluency"]),
        number(found["fluency_change"], signed=True),
        interval(found["fluency_change_ci"]),
    )


def open_sections(record: Record) -> list[Block]:
    """All that the report says of free answers; nothing where none were asked for."""
    rows = [row for name in record.summary.subjects for row in record.summary.of(name)]
    qualities = quality_table(rows)
    if qualities is None:
        return []
    scores = score_table(rows)
    found = section("Free answers", Paragraph(OPEN_TEXT))
    if scores is not None:
        found += [Heading("Scores", 3), Paragraph(SCORES_TEXT), *_agreement(rows), scores]
        found += [*_wins(rows), Heading("Judges", 3), judge_table(rows), *trust(record)]
    return [*found, Heading("Quality", 3), Paragraph(QUALITY_TEXT), qualities, *_samples(record)]


def _agreement(rows: Sequence[SummaryRow]) -> list[Block]:
    """In how many cells the free answers follow the choices, by judge."""
    lines = []
    for judge, found in by_judge([row for row in rows if not row.control]).items():
        signs = [one["agrees"] for _, one in found if one["agrees"] is not None]
        if signs:
            lines.append(f"**{escaped(judge)}**: the same sign in {sum(signs)} of {len(signs)} cells.")
    return [Bullets(tuple(lines))] if lines else []


WINS_TEXT = (
    "How often the cell's answer shows more of the behavior than the baseline's to the same prompt, asked in both "
    "orders; ties, and orders that disagree, count as halves."
)


def _wins(rows: Sequence[SummaryRow]) -> list[Block]:
    """Win rates of judges that compare."""
    asked = [(row, judge, one["wins"]) for row, js in judged(rows) for judge, one in js.items() if one.get("wins")]
    if not asked:
        return []
    columns = (
        *_PLACE,
        Column("judge", align="left"),
        Column("wins"),
        Column("95% CI", interval=True),
        *(Column(title) for title in ("won", "tied", "lost")),
    )
    lines = tuple(
        Row(
            (
                *_place(row),
                judge,
                number(w["rate"]),
                interval(w["ci"]),
                *(count(w[k]) for k in ("won", "tied", "lost")),
            ),
            row.subject,
        )
        for row, judge, w in asked
    )
    return [Heading("Wins", 3), Paragraph(WINS_TEXT), _telling(Table(columns, lines), rows)]


def _samples(record: Record) -> list[Block]:
    """Answers to the same prompt under each other; on a page all of them, to be filtered."""
    if not record.answers:
        return []
    rows = {row.cell: row for row in record.summary.rows}
    found: list[Block] = [Heading("Samples", 3)]
    for subject, mine in _by_prompt(record).items():
        for prompt in list(mine)[:SAMPLES]:
            found += [Paragraph(f"{escaped(subject)}: “{escaped(prompt)}”"), _side_by_side(mine[prompt], rows, False)]
    every, left_out = _kept(record)
    table = _side_by_side(every, rows, True)
    more = f"; {left_out} more are in results.jsonl" if left_out else ""
    return [*found, Folded(f"All {len(every)} answers{more}", table)]


def _kept(record: Record) -> tuple[list[Facts], int]:
    """The answers of a page, prompt after prompt, and how many it leaves out."""
    groups = [group for mine in _by_prompt(record).values() for group in mine.values()]
    kept: list[Facts] = []
    for group in groups:
        if len(kept) + len(group) > MOST_ANSWERS:
            break
        kept += group
    return kept, len(record.answers) - len(kept)


def _by_prompt(record: Record) -> dict[str, dict[str, list[Facts]]]:
    """Subject -> prompt -> its answers."""
    subjects = {row.cell: row.subject for row in record.summary.rows}
    found: dict[str, dict[str, list[Facts]]] = {name: {} for name in record.summary.subjects}
    for answer in record.answers:
        found[subjects[answer["cell"]]].setdefault(answer["prompt"], []).append(answer)
    return found


def _side_by_side(answers: Sequence[Facts], rows: Mapping[str, SummaryRow], prompts: bool) -> Table:
    judges = list(dict.fromkeys(judge for answer in answers for judge in answer["scores"]))
    columns = (
        *((_PLACE[0], Column("prompt", align="left", prose=True)) if prompts else ()),
        *_PLACE[1:],
        Column("answer", align="left", prose=True),
        *(Column(judge) for judge in judges),
    )
    lines = []
    for answer in answers:
        row = rows[answer["cell"]]
        head = (row.subject, answer["prompt"]) if prompts else ()
        scores = (short(answer["scores"].get(judge)) for judge in judges)
        lines.append(Row((*head, *_place(row)[1:], answer["answer"] or "(nothing)", *scores), row.subject))
    return Table(columns, tuple(lines))


def _place(row: SummaryRow) -> tuple[str, ...]:
    strength = NOTHING if row.is_baseline else f"{row.strength:g}"
    return row.subject, cell_name(row), row.direction or NOTHING, strength


def _telling(table: Table, rows: Sequence[SummaryRow], others: Sequence[str] = ()) -> Table:
    """The table without columns that say the same in every line."""
    same = {*others}
    if len({row.subject for row in rows}) == 1:
        same.add("behavior")
    if len({row.strength for row in rows if not row.is_baseline}) < 2:
        same.add("strength")
    return table.keeping(lambda i, column: column.title not in same)


def _short_interval(value: Sequence[float] | None) -> str:
    return NOTHING if value is None else f"[{short(value[0])}, {short(value[1])}]"
