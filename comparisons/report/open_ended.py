"""Free answers in the report: how judges scored them, how far the judges go, and the answers side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from comparisons.report.blocks import Block, Bullets, Folded, Heading, Paragraph, section
from comparisons.report.coherence import coherence_panels
from comparisons.report.figures import Gallery
from comparisons.report.markdown import escaped
from comparisons.report.sections import EvaluationSection
from comparisons.report.shift import places_blocks
from comparisons.report.table import PLACE, place, placed_table
from comparisons.results.answers import UNSCORED, is_further
from comparisons.results.record import Facts, Record
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, count, interval, number

SAMPLES = 2
"""Prompts of a behavior whose answers stand in the report; a page has the others too."""

MOST_ANSWERS = 5000
"""Answers on a page: more would make it slow."""

OPEN_TEXT = "Each cell also answers the behavior's open-ended prompts, freely and greedily."
THOUGHT_TEXT = (
    "The model thought before each answer: *thought* is the mean number of tokens; in results.jsonl each thought "
    "stands apart from its answer. No judge sees it. A thought that went on to its last token is *unfinished*: its "
    "answer, being none, is neither scored nor measured (--thought-tokens allows for more)."
)
SCORES_TEXT = (
    "A judge scores an answer from 0 to 10 by the behavior's rubric; *score* is the mean over the answers that it "
    "could score: one in which it saw *no sign* of either side has no score, and is counted. The shift is against the "
    "baseline's answers, paired by prompt. *Sign* says whether that shift has the sign of the shift on the choices: "
    "where it hasn't, the letters moved and the free answers didn't follow."
)
FURTHER_TEXT = (
    "What stands in brackets behind a judge is a further rubric in behavior.json, by which it scored the same answers; "
    "such scores have no *sign*, since they are of something else than the choices."
)
QUALITY_TEXT = (
    "What the answers are like, whoever judges them. *Length* is in words; *repetition* is the share of runs of four "
    "words that stood in the answer before; *fluency* is the mean log-likelihood a token of the answer under the "
    "unchanged model, in nats, for every method alike. A fluency far below the baseline's, or much repetition, says "
    "that the text is broken, whatever its score."
)
COHERENCE_TEXT = (
    "The same judge also says, asked apart, how coherent an answer is, whatever it shows: 10 for language without a "
    "fault, 0 for none. *Combined* is, for each answer *with both*, the harmonic mean of the score towards the "
    "direction asked for (for less of the behavior, 10 minus the score) and its coherence, and then the mean over the "
    "answers: 0 where either is 0 (Wu et al. 2025 join concept, instruction and fluency so). The changes are against "
    "the baseline's answers, paired by prompt; of *combined*, against theirs towards the same direction. In the chart "
    "grey lines meet at the unchanged model."
)
FALL_TEXT = (
    "Below, a cell's shift is that on the choices, and its cost is by how much its answers are less coherent than the "
    "unchanged model's."
)
WINS_TEXT = (
    "How often the cell's answer shows more of the behavior than the baseline's to the same prompt, asked in both "
    "orders; ties, and orders that disagree, count as halves."
)
KNOWN_TEXT = (
    "On answers whose score is known, which are not the run's: in how many the judge saw no sign, the share of the "
    "scored ones whose score lies on the right side of 5, with Wilson's interval, the mean distance from the known "
    "score, and whether they are put in the same order."
)
AGREEMENT_TEXT = (
    "On the run's own answers: Krippendorff's alpha (1 for the same scores, 0 for what chance brings), and for two "
    "judges whether they order the answers alike."
)

NO_SIGN, BEHAVIOR = "no sign", "behavior"
"""Columns' titles."""

GUESS = 0.5
"""The share on the right side of 5 that a coin would have."""

Scores = Mapping[str, Any]
"""What a judge, or the answers themselves, gave a cell."""

Fields = tuple[tuple[Column, Callable[[Scores], str]], ...]


def _heard(one: Scores, name: str) -> str:
    """An interval of scores; none where the judge saw no sign in most answers."""
    return NOTHING if (one.get("no_sign") or 0) > one["n_scored"] else interval(one[name], places=2)


SCORES: Fields = (
    (Column("scored", rank=4), lambda one: count(one["n_scored"])),
    (Column(NO_SIGN), lambda one: count(one.get("no_sign"))),
    (Column("score", opens="answers"), lambda one: number(one["score"], places=2)),
    (Column("95% CI", rank=6, interval=True), lambda one: _heard(one, "score_ci")),
    (Column("shift"), lambda one: number(one["shift"], signed=True, places=2)),
    (Column("95% CI", rank=1, interval=True), lambda one: _heard(one, "shift_ci")),
    (Column("sign", align="left"), lambda one: {True: "same", False: "opposite", None: NOTHING}[one["agrees"]]),
)
COHERENCE: Fields = (
    (Column("rated", rank=4), lambda one: count(one["n_rated"])),
    (Column("coherence"), lambda one: number(one["coherence"], places=2)),
    (Column("95% CI", rank=5, interval=True), lambda one: interval(one["coherence_ci"], places=2)),
    (Column("coherence's change"), lambda one: number(one["coherence_change"], signed=True, places=2)),
    (Column("95% CI", rank=2, interval=True), lambda one: interval(one["coherence_change_ci"], places=2)),
    (Column("with both", rank=4), lambda one: count(one.get("n_combined"))),
    (Column("combined"), lambda one: number(one.get("combined"), places=2)),
    (Column("95% CI", rank=6, interval=True), lambda one: interval(one.get("combined_ci"), places=2)),
    (Column("combined's change"), lambda one: number(one.get("combined_change"), signed=True, places=2)),
    (Column("95% CI", rank=1, interval=True), lambda one: interval(one.get("combined_change_ci"), places=2)),
)
WINS: Fields = (
    (Column("wins"), lambda wins: number(wins["rate"])),
    (Column("95% CI", interval=True), lambda wins: interval(wins["ci"])),
    (Column("won"), lambda wins: count(wins["won"])),
    (Column("tied"), lambda wins: count(wins["tied"])),
    (Column("lost"), lambda wins: count(wins["lost"])),
)
QUALITIES: Fields = (
    (Column("answers", rank=4), lambda one: count(one["n_answers"])),
    (Column("length"), lambda one: number(one["length"], places=2)),
    (Column("repetition"), lambda one: number(one["repetition"])),
    (Column("fluency"), lambda one: number(one["fluency"])),
    (Column("fluency's change"), lambda one: number(one["fluency_change"], signed=True)),
    (Column("95% CI", rank=1, interval=True), lambda one: interval(one["fluency_change_ci"])),
    (Column("thought"), lambda one: number(one.get("thought_tokens"), places=1)),
    (Column("unfinished"), lambda one: count(one.get("unfinished"))),
)
KNOWN: Fields = (
    (Column("judge", align="left"), lambda one: str(one["judge"])),
    (Column(BEHAVIOR, align="left"), lambda one: str(one[BEHAVIOR])),
    (Column("known answers"), lambda one: count(one["n"])),
    (Column("scored"), lambda one: count(one["n_scored"])),
    (Column(NO_SIGN), lambda one: count(one.get("no_sign"))),
    (Column("right side"), lambda one: number(one.get("share_right"))),
    (Column("95% CI", interval=True), lambda one: interval(one.get("share_right_ci"))),
    (Column("mean error"), lambda one: number(one.get("mean_absolute_error"), places=2)),
    (Column("Spearman"), lambda one: number(one.get("spearman"))),
)
AGREEMENT: Fields = (
    (Column("judges", align="left"), lambda one: ", ".join(one["judges"])),
    (Column("answers"), lambda one: count(one["n"])),
    (Column("alpha"), lambda one: number(one.get("alpha"))),
    (Column("Spearman"), lambda one: number(one.get("spearman"))),
    (Column("Kendall"), lambda one: number(one.get("kendall"))),
)


def open_ended_section(record: Record, gallery: Gallery) -> list[Block]:
    """All that the report says of free answers; nothing where none were asked for."""
    rows = [row for name in record.summary.subjects for row in record.summary.of(name)]
    answered = [(row, row.open_ended) for row in rows if row.open_ended]
    if not answered:
        return []
    blocks = section("Free answers", Paragraph(OPEN_TEXT))
    scores = score_table(rows)
    if scores is not None:
        further = [Paragraph(FURTHER_TEXT)] if any(is_further(judge) for _, judge, _ in _judged(rows)) else []
        blocks += [Heading("Scores", 3), Paragraph(SCORES_TEXT), *further, *_agreement_of_signs(rows), scores]
        blocks += [*_coherence(record, rows, gallery), *_wins(rows)]
        blocks += [Heading("Judges", 3), _judges(rows), *_trust(record)]
    thought = any("thought_tokens" in one for _, one in answered)
    qualities = placed_table(*_filled(QUALITIES if thought else QUALITIES[:-2], answered), rows, 3)
    texts = [Paragraph(QUALITY_TEXT), *([Paragraph(THOUGHT_TEXT)] if thought else [])]
    return [*blocks, Heading("Quality", 3), *texts, qualities, *_samples(record)]


def score_table(rows: Sequence[SummaryRow]) -> Table | None:
    """A line for each cell and judge; None where no answer was asked for or judged."""
    judged = _judged(rows)
    if not judged:
        return None
    return _without_silence(_judged_table(SCORES, judged, rows, _names(judged)), [one for *_, one in judged])


def _without_silence(table: Table, scores: Sequence[Scores]) -> Table:
    """The table, without its column of answers without a sign where there are none."""
    return table if any(one.get("no_sign") for one in scores) else table.keeping(lambda i, c: c.title != NO_SIGN)


def _filled(
    fields: Fields, lines: Sequence[tuple[SummaryRow, Scores]]
) -> tuple[list[Column], list[tuple[SummaryRow, list[str]]]]:
    """The columns of a table, and the texts of its lines."""
    return [column for column, _ in fields], [(row, [text(one) for _, text in fields]) for row, one in lines]


def _judged_table(
    fields: Fields, judged: Sequence[tuple[SummaryRow, str, Scores]], rows: Sequence[SummaryRow], names: list[Column]
) -> Table:
    """A line for each cell and judge; `names` is the column of the judges' names, or none."""
    columns, lines = _filled(fields, [(row, one) for row, _, one in judged])
    if names:
        for (_, texts), (_, judge, _) in zip(lines, judged, strict=True):
            texts.insert(0, judge)
    return placed_table([*names, *columns], lines, rows, 3)


def _judged(rows: Sequence[SummaryRow]) -> list[tuple[SummaryRow, str, Scores]]:
    """Each cell, each of its judges, and what that gave it."""
    return [(row, judge, one) for row in rows if row.open_ended for judge, one in row.open_ended["judges"].items()]


def _by_judge(rows: Sequence[SummaryRow]) -> dict[str, list[Scores]]:
    by_judge: dict[str, list[Scores]] = {}
    for _, judge, one in _judged(rows):
        by_judge.setdefault(judge, []).append(one)
    return by_judge


def _agreement_of_signs(rows: Sequence[SummaryRow]) -> list[Block]:
    """In how many cells the free answers follow the choices, by judge."""
    lines = []
    for judge, scores in _by_judge([row for row in rows if not row.control]).items():
        signs = [one["agrees"] for one in scores if one["agrees"] is not None]
        if signs:
            lines.append(f"**{escaped(judge)}**: the same sign in {sum(signs)} of {len(signs)} cells.")
    return [Bullets(tuple(lines))] if lines else []


def _coherence(record: Record, rows: Sequence[SummaryRow], gallery: Gallery) -> list[Block]:
    """The scores against coherence; nothing where no judge was asked for it."""
    rated = [line for line in _judged(rows) if "coherence" in line[2]]
    if not rated:
        return []
    pictures = gallery.draw("coherence", coherence_panels(record.summary), "Score of the behavior against coherence")
    table = _judged_table(COHERENCE, rated, rows, _names(rated))
    places = places_blocks(rows, lambda row: row.coherence_frontier)
    text = [Paragraph(FALL_TEXT)] if places else []
    return [Heading("Score and coherence", 3), Paragraph(COHERENCE_TEXT), *pictures, table, *text, *places]


def _names(judged: Sequence[tuple[SummaryRow, str, Scores]]) -> list[Column]:
    """The column of the judges' names, where there are several."""
    return [Column("judge", align="left", rank=2)] if len({judge for _, judge, _ in judged}) > 1 else []


def _wins(rows: Sequence[SummaryRow]) -> list[Block]:
    wins = [(row, judge, one["wins"]) for row, judge, one in _judged(rows) if one.get("wins")]
    if not wins:
        return []
    return [Heading("Wins", 3), Paragraph(WINS_TEXT), _judged_table(WINS, wins, rows, [Column("judge", align="left")])]


def _judges(rows: Sequence[SummaryRow]) -> Table:
    """A line a judge: what became of the answers it was given, and what it cost."""
    titles = (
        "answers",
        "scored",
        NO_SIGN,
        "unparsed",
        "refused",
        "failed",
        "not asked",
        "tokens in",
        "tokens out",
        "dollars",
    )
    columns = (Column("judge", align="left"), *(Column(title) for title in titles))
    lines = []
    for judge, scores in _by_judge(rows).items():
        counts = [sum(one.get(key) or 0 for one in scores) for key in ("n_scored", *UNSCORED)]
        tokens = [sum(one.get(key) or 0 for one in scores) for key in ("tokens_in", "tokens_out")]
        dollars = [one["dollars"] for one in scores if one.get("dollars") is not None]
        paid = [*map(count, tokens), f"{sum(dollars):.4f}" if dollars else NOTHING]
        numbers = (*map(count, (sum(counts), *counts)), *(paid if any(tokens) else [NOTHING] * 3))
        lines.append(Row((judge, *numbers), ""))
    return Table(columns, tuple(lines)).without_empty()


def _trust(record: Record) -> list[Block]:
    known, agreed = record.summary.judges.get("known") or {}, record.summary.judges.get("agreement") or []
    blocks: list[Block] = []
    if known:
        blocks += [Heading("Judges on known answers", 3), Paragraph(KNOWN_TEXT), _known(known)]
    if agreed:
        table = Table.of(AGREEMENT, agreed).without_empty()
        blocks += [Heading("Agreement of judges", 3), Paragraph(AGREEMENT_TEXT), table]
    return blocks


def _known(known: Mapping[str, Scores]) -> Table:
    """How judges do on known answers: a line a judge, or one for each behavior and one for all together."""
    lines = []
    for judge, one in known.items():
        behaviors = one.get("behaviors") or {}
        several = {**behaviors, "all": one} if len(behaviors) > 1 else {NOTHING: one}
        lines += [{**each, "judge": judge, BEHAVIOR: name} for name, each in several.items()]
    notes = [
        f"{line['judge']} can't be told from a guess on the known answers"
        f"{'' if line[BEHAVIOR] == NOTHING else f' on {line[BEHAVIOR]}'}: don't lean on its scores there."
        for line in lines
        if line.get("share_right_ci") and line["share_right_ci"][0] <= GUESS and line[BEHAVIOR] != "all"
    ]
    return replace(_without_silence(Table.of(KNOWN, lines).without_empty(), lines), notes=tuple(notes))


def _samples(record: Record) -> list[Block]:
    """Answers to the same prompt under each other; on a page all of them, to be filtered."""
    if not record.answers:
        return []
    rows = {row.cell: row for row in record.summary.rows}
    by_prompt: dict[str, dict[str, list[Facts]]] = {name: {} for name in record.summary.subjects}
    for answer in record.answers:
        by_prompt[rows[answer["cell"]].subject].setdefault(answer["prompt"], []).append(answer)
    blocks: list[Block] = [Heading("Samples", 3)]
    for subject, prompts in by_prompt.items():
        for prompt, answers in list(prompts.items())[:SAMPLES]:
            blocks += [Paragraph(f"{escaped(subject)}: “{escaped(prompt)}”"), _side_by_side(answers, rows, False)]
    every: list[Facts] = []
    for answers in (answers for prompts in by_prompt.values() for answers in prompts.values()):
        if len(every) + len(answers) > MOST_ANSWERS:
            break
        every += answers
    left_out = len(record.answers) - len(every)
    more = f"; {left_out} more are in results.jsonl" if left_out else ""
    return [*blocks, Folded(f"All {len(every)} answers{more}", _side_by_side(every, rows, True))]


def _side_by_side(answers: Sequence[Facts], rows: Mapping[str, SummaryRow], prompts: bool) -> Table:
    judges = list(dict.fromkeys(judge for answer in answers for judge in answer["scores"]))
    rating = list(dict.fromkeys(judge for answer in answers for judge in answer.get("coherence", {})))
    behavior, *places = (*(Column(title, align="left") for title in PLACE), Column("strength", rank=3))
    columns = (
        *((behavior, Column("prompt", align="left", prose=True)) if prompts else ()),
        *places,
        Column("answer", align="left", prose=True),
        *(Column(judge) for judge in judges),
        *(Column(f"coherence ({judge})" if len(judges) > 1 else "coherence") for judge in rating),
    )
    lines = []
    for answer in answers:
        row = rows[answer["cell"]]
        head = (row.subject, answer["prompt"]) if prompts else ()
        scores = [number(answer["scores"].get(judge), places=2) for judge in judges]
        scores += [number(answer.get("coherence", {}).get(judge), places=2) for judge in rating]
        lines.append(Row((*head, *place(row)[1:], answer["answer"] or "(nothing)", *scores), row.subject))
    return Table(columns, tuple(lines))


SECTION = EvaluationSection(open_ended_section, 4, "How judges score free answers:", score_table)
