"""What stands between a run and its answer, each found with what mends it; and the answer in a line a direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from comparisons.results.contrasts import between
from comparisons.results.findings import (
    FEWEST,
    MARGIN,
    ROUGH,
    aim_of,
    by_content,
    claim,
    controls_as_far,
    controls_clause,
    dosed,
    doubt,
    intended,
    is_broken,
    moved,
    ranked,
    unmatched,
    void,
)
from comparisons.results.schema import Contrast
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.directions import DIRECTIONS
from comparisons.util.table import number

SAME_LETTER, OPPOSITE_ORDERS = 0.7, -0.5
"""Share of questions with the same letter in both orders, and correlation of both orders' logits, beyond which a model
answers by letter."""

LETTERISH = 0.5
"""The cosine with the direction between the letters, either way, beyond which a vector is warned of."""

SEEN = 50
"""Questions below which a run is cautioned that what few of all questions do may be missing from them."""

SKEWED = 10
"""Times the squared skewness of a shift: independent questions below which its interval may hold less than it says.
Cochran (1977, Sampling Techniques, section 2.15) has 25 for a normal interval; a bootstrap's needs fewer, as simulated.
"""

FALLEN = -2
"""Points of 10 below which the whole interval of a change in coherence lies where free answers are warned of."""

Kind = Literal[
    "broken baseline",
    "by letter",
    "letter vector",
    "chance",
    "clusters",
    "few questions",
    "skewed",
    "ranks by content",
    "no sign",
    "incoherent",
]


NAMED = 2
"""Methods that are named above a verdict; of more, how many."""


@dataclass(frozen=True)
class Gate:
    """One thing that limits what a run can say.

    Attributes:
        subject: the behavior, and the model where the run has several.
        text: what was found and what mends it, a line.
        short: what was found, in a few words, to stand above the verdict; "" where it doesn't bear on that.
        void: whether nothing can be said of the subject at all.
    """

    kind: Kind
    subject: str
    text: str
    short: str
    void: bool = False


def gates(summary: Summary) -> tuple[Gate, ...]:
    """What limits the answers of a run, subject by subject."""
    return tuple(gate for name in summary.subjects for gate in _gates(name, summary.of(name)))


def _gates(name: str, rows: Sequence[SummaryRow]) -> Iterator[Gate]:
    plain = next((row for row in rows if row.is_baseline and not row.failed), None)
    cells = [row for row in rows if not (row.is_baseline or row.failed or row.shift is None or is_broken(row))]
    if plain is not None:
        yield from _of_baseline(name, plain)
    letterish = [row for row in cells if abs(row.letter_cosine or 0.0) > LETTERISH]
    if letterish:
        most = max((row.letter_cosine or 0.0 for row in letterish), key=abs)
        text = (
            f"{name}: the vectors of {_names(letterish)} are largely a liking for a letter (cosine with the direction "
            f"between the letters up to {number(most, signed=True, places=2)}): --measure answers asks without letters."
        )
        yield Gate("letter vector", name, text, _of_methods(letterish, "{} mostly a letter"))
    if any(row.cost_test and row.cost_test["verdict"] == "at chance" for row in cells):
        text = (
            f"{name}: the unchanged model's knowledge is at chance: nothing is said about cost. "
            "Take easier questions by --knowledge."
        )
        yield Gate("chance", name, text, "knowledge is at chance")
    yield from _of_numbers(name, cells)
    for direction in DIRECTIONS:
        if turned := by_content([row for row in cells if row.direction == direction]):
            text = (
                f"{name}, {direction}: more of the shift of {_names(turned)} follows the letter than the content: "
                "ranks go by content. --measure answers asks without letters."
            )
            yield Gate("ranks by content", name, text, "ranked by content")
    yield from _of_judges(name, rows)
    yield from _of_answers(name, cells)


def _of_baseline(name: str, plain: SummaryRow) -> Iterator[Gate]:
    """What the unchanged model can't be asked."""
    if is_broken(plain):
        text = (
            f"{name}: the unchanged model puts {plain.lost_mass or 0.0:.0%} of the probability on something else than "
            "the letters: the answer is void. Ask by --measure answers, or in another --prompt-format."
        )
        yield Gate("broken baseline", name, text, "the model doesn't answer by letter", void=True)
    same, correlation = plain.same_letter, plain.order_correlation
    if (same is not None and same > SAME_LETTER) or (correlation is not None and correlation < OPPOSITE_ORDERS):
        value = number(correlation, signed=True, places=2)
        found = "" if correlation is None else f"; the logits of both orders correlate by {value}"
        text = (
            f"{name}: the unchanged model answers by letter, the same in both orders on {same or 0.0:.0%} of the "
            f"questions{found}. --measure answers asks without letters."
        )
        yield Gate("by letter", name, text, "the model answers by letter")


def _of_judges(name: str, rows: Sequence[SummaryRow]) -> Iterator[Gate]:
    """Judges that saw no sign of either side in most answers."""
    judged = [(judge, one) for row in rows if row.open_ended for judge, one in row.open_ended["judges"].items()]
    for judge in dict.fromkeys(judge for judge, _ in judged):
        silent = sum(one.get("no_sign") or 0 for by, one in judged if by == judge)
        every = silent + sum(one["n_scored"] for by, one in judged if by == judge)
        if 2 * silent > every:
            text = (
                f"{judge} saw no sign of either side in {silent} of {every} answers on {name}: its scores are those of "
                "the few others, and no measure. Read the answers, or take another judge."
            )
            yield Gate("no sign", name, text, f"{judge} saw no sign in {silent} of {every} answers")


def _of_answers(name: str, cells: Sequence[SummaryRow]) -> Iterator[Gate]:
    """Cells whose free answers fall apart, by the judge that finds the largest fall."""
    found: list[tuple[float, float, SummaryRow]] = []
    for row in cells:
        for one in row.open_ended["judges"].values() if row.open_ended else ():
            change, left = one.get("coherence_change"), one.get("coherence")
            within = one.get("coherence_change_ci")
            if within and within[1] < FALLEN and change is not None and left is not None:
                found.append((change, left, row))
    if found:
        change, left, worst = min(found, key=lambda each: each[:2])
        rows = [row for *_, row in found]
        text = (
            f"{name}: free answers of {_names(rows, directed=True)} are less coherent than the "
            f"unchanged model's, furthest of {worst.name} {worst.direction}: {number(left, places=1)} of 10, "
            f'{number(-change, places=1)} lower. Read them before you use it; --select "coherence>=7" sets a limit.'
        )
        yield Gate("incoherent", name, text, _of_methods(rows, "answers of {} less coherent", directed=True))


def _of_numbers(name: str, cells: Sequence[SummaryRow]) -> Iterator[Gate]:
    """Where too little stands behind the intervals."""
    counts = [(row.n_clusters, row.n_items or 0) for row in cells if row.n_clusters is not None]
    least, items = min(counts, default=(ROUGH, 0))
    if least < ROUGH:
        what = f"{least} questions" if least == items else f"{items} questions of {least} templates"
        says = f"under {FEWEST} there is no interval" if least < FEWEST else f"with under {ROUGH} intervals are rough"
        text = f"{name}: {what}, which are {least} clusters: {says}. Ask more of them."
        short = f"{'no' if least < FEWEST else 'rough'} intervals"
        yield Gate("clusters", name, text, short)
    if least >= FEWEST and (few := [row for row in cells if row.too_few]):
        text = f"{name}: nothing is said of {_names(few)}: {few[0].too_few}. Ask more questions."
        yield Gate("few questions", name, text, _of_methods(few, "too few questions move"))
    elif least >= FEWEST and 0 < items < SEEN:
        text = (
            f"{name}: {items} questions: what under {1 - 0.05 ** (1 / items):.0%} of all questions do may be missing "
            "from them, and no interval knows of it. Ask more questions."
        )
        yield Gate("few questions", name, text, "few questions")
    if skewed := [row for row in cells if not row.too_few and too_skewed(row.n_clusters, row.skewness)]:
        most = number(max((row.skewness or 0.0 for row in skewed), key=abs), signed=True, places=1)
        text = (
            f"{name}: the shifts of {_names(skewed)} are skewed (up to {most}), too much for so few "
            "questions: intervals may hold less than .95. Those over 8 cells held .92 with a skewness of 2 "
            "and 20 questions, .88 with 4.5 and 50, in simulations. Ask more questions."
        )
        yield Gate("skewed", name, text, _of_methods(skewed, "shifts of {} skewed"))


def too_skewed(clusters: int | None, skewness: float | None) -> bool:
    """Whether a shift's interval, if it isn't called rough anyway, has too few questions for its skewness."""
    return ROUGH <= (clusters or 0) < SKEWED * (skewness or 0.0) ** 2


def _of_methods(rows: Sequence[SummaryRow], text: str, directed: bool = False) -> str:
    """What is said above a verdict, with their names, where it is about a method and not about controls alone."""
    names = _distinct([row for row in rows if not row.control], directed)
    others = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return text.format(", ".join(names[:NAMED]) + others) if names else ""


def _names(rows: Sequence[SummaryRow], directed: bool = False) -> str:
    return ", ".join(_distinct(rows, directed))


def _distinct(rows: Sequence[SummaryRow], directed: bool) -> list[str]:
    """The names of their methods, each once, and which way they go where that matters."""
    return list(dict.fromkeys(f"{row.name} {row.direction}" if directed else row.name for row in rows))


@dataclass(frozen=True)
class Verdict:
    """What to do about a behavior in one direction, by the intervals and contrasts that `findings.answers` explains.

    Attributes:
        aim: what for, as a sentence begins: "To raise refusal".
        row: the cell that it is about; None where there is none.
    """

    aim: str
    text: str
    row: SummaryRow | None = None


def verdicts(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[Verdict]:
    """The verdict of each direction in which the rows of a behavior have a cell."""
    asked = [[row for row in rows if row.direction == direction and not row.control] for direction in DIRECTIONS]
    return [_verdict(rows, cells, contrasts) for cells in asked if cells]


def _verdict(rows: Sequence[SummaryRow], asked: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> Verdict:
    aim, best = aim_of(asked), ranked(rows, asked[0].direction or "")
    if void(rows):
        return Verdict(aim, "nothing can be said")
    if not best:
        return Verdict(aim, "no cell is usable")
    first = best[0]
    if not moved(first):
        return Verdict(aim, "use none of these: nothing moved it that way measurably", first)
    if doubt(first):
        return Verdict(aim, f"nothing is sure: {dosed(first, asked)} moved it, but a test speaks against it", first)
    further = [text for text, row in unmatched(asked).items() if intended(row) > intended(first)]
    beside = f"; without a dose, and further: {', '.join(further)}" if further else ""
    controls = controls_clause(controls_as_far(first, rows, contrasts))
    return Verdict(aim, _use(best, asked, contrasts) + controls + beside, first)


def _use(best: Sequence[SummaryRow], asked: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> str:
    """The method to use, those that are as good, and those that may be."""
    first = best[0]
    of: dict[str, list[str]] = {}
    for row in best[1:]:
        contrast = between(contrasts, first.cell, row.cell)
        if contrast is not None and (contrast["verdict"] != "equivalent" or moved(row)):
            of.setdefault(contrast["verdict"], []).append(dosed(row, asked))
    text = f"use {' or '.join([dosed(first, asked), *of.get('equivalent', ())])}"
    margin, interval = next((each["margin"] for each in contrasts), MARGIN), claim(first)
    if interval is not None and max(map(abs, interval)) < margin:
        text += f", though it moves it by less than {margin:g}"
    if first.cost is not None and first.cost_ci is not None and first.cost_ci[0] > MARGIN:
        text += f", at a knowledge cost of {number(first.cost, places=2)}"
    if "undecided" in of:
        text += f"; undecided against {', '.join(of['undecided'])}"
    if "worse" in of:
        text += f"; {', '.join(of['worse'])} moved it further, but not surely"
    return text
