"""What a behavior's rows say, in a sentence that claims no more than the intervals do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from comparisons.results.contrasts import between
from comparisons.results.costs import QUANTITIES
from comparisons.results.prices import price, with_interval
from comparisons.results.schema import Contrast, Noise
from comparisons.results.summary import SummaryRow
from comparisons.util.directions import DIRECTIONS

BROKEN = 0.5
"""A cell whose letters hold less than this share of the probability answers something else."""

SIGNIFICANT = 0.05

MARGIN = 0.02
"""Two points: a knowledge cost below this is called none, and a difference between methods is, unless --margin says."""

NOTICEABLE = 0.01
"""Shift below which a control that moves is not spoken of: the table shows it."""

FEW = 8
"""Fewer items than this are too few for any interval to mean much."""


FEWEST, ROUGH = 6, 10
"""Independent questions below which there are no intervals, and below which they are rough."""

MOST_COMPARED = 60
"""Cells of a behavior and direction that are compared pair by pair: 1,770 pairs. More are a grid to be looked at."""


def intended(row: SummaryRow) -> float:
    """The shift in the direction asked for; negative where it went the other way."""
    assert row.shift is not None
    return row.shift if row.direction == "pos" else -row.shift


def intended_content(row: SummaryRow) -> float:
    """The content shift in the direction asked for."""
    return (row.content_shift or 0.0) * (1 if row.direction == "pos" else -1)


def by_content(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """The cells of a direction whose shift follows the letter more than the content; with one, ranks go by content."""
    return [r for r in rows if not r.control and abs(r.letter_shift or 0.0) > abs(r.content_shift or 0.0)]


def void(rows: Sequence[SummaryRow]) -> bool:
    """Whether the unchanged model didn't answer with a letter, so that no shift from it says anything."""
    return any(row.is_baseline and not row.failed and is_broken(row) for row in rows)


def claim(row: SummaryRow) -> Sequence[float] | None:
    """The interval of the shift by which sentences go: over all cells of the behavior at once.

    None where there are too few clusters, or too few questions move; the cell's own where a run has no such intervals.
    """
    return row.shift_ci if row.n_clusters is None else row.shift_band


def moved(row: SummaryRow) -> bool:
    """Whether the interval lies wholly on the side asked for."""
    return _beyond(row, row.direction == "pos")


def moved_wrongly(row: SummaryRow) -> bool:
    """Whether the interval lies wholly on the other side."""
    return _beyond(row, row.direction != "pos")


def _beyond(row: SummaryRow, above: bool) -> bool:
    interval = claim(row)
    if interval is None:
        return False
    return interval[0] > 0 if above else interval[1] < 0


def is_broken(row: SummaryRow) -> bool:
    """Whether the cell lost so much of the letters' probability that its shift says little."""
    return row.broken or (row.lost_mass is not None and row.lost_mass > BROKEN)


def ranked(rows: Sequence[SummaryRow], direction: str) -> list[SummaryRow]:
    """The best cell of each method in one direction, those that moved measurably first, furthest first.

    Controls are not among them: they are there to be compared with.
    """
    # Where some are at a wanted value, the others are at one of their own.
    rows = [row for row in rows if row.matched] or rows
    usable = [r for r in rows if r.direction == direction and not r.failed and r.shift is not None and not r.control]
    sound = [row for row in usable if not is_broken(row)]
    far = intended_content if by_content(sound) else intended
    best: dict[str, SummaryRow] = {}
    for row in sorted(sound, key=lambda r: (not moved(r), -far(r))):
        best.setdefault(row.name, row)
    return list(best.values())


def answers(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[str]:
    """The answer of each direction, where there is one."""
    return [text for direction in DIRECTIONS if (text := answer(rows, direction, contrasts))]


def answer(rows: Sequence[SummaryRow], direction: str, contrasts: Sequence[Contrast] = ()) -> str | None:
    """One sentence on what moved a behavior most in one direction, and how the other methods compare with it.

    Args:
        rows: of one behavior.

    Returns:
        The sentence, None where the run has no cell in this direction.
    """
    asked = [row for row in rows if row.direction == direction and not row.control]
    if not asked:
        return None
    aim = aim_of(asked)
    if void(rows):
        return f"{aim}, the answer is void: the unchanged model answers something else than the letters."
    best = ranked(rows, direction)
    if not best:
        if any(is_broken(row) for row in asked):
            return f"{aim}, no cell is usable: all failed or stopped answering with a letter."
        return f"{aim}, there is no result: every cell failed."
    first, undosed = best[0], unmatched(asked)
    beside = f"; without a dose to match by: {', '.join(undosed)}" if undosed else ""
    if not moved(first):
        furthest = f"the furthest was {_dose(first, asked)}, {claimed(first)}"
        return f"{aim}, no method moved it that way measurably; {furthest}{beside}."
    found = [(row, between(contrasts, first.cell, row.cell)) for row in best[1:]]
    against = [(_dose(row, asked), contrast) for row, contrast in found if contrast is not None]
    text = f"{aim}, {_dose(first, asked)} {_rank(best, against)}: {claimed(first)}{price(first)}"
    controls = controls_clause(controls_as_far(first, rows, contrasts), numbers=True)
    return text + "".join(_compared(against)) + controls + beside + "." + doubt(first)


def unmatched(rows: Sequence[SummaryRow]) -> dict[str, SummaryRow]:
    """The cells beside matched ones that have no dose, by the value that they have themselves."""
    quantity = next((row.matched for row in rows if row.matched), "").partition("=")[0]
    own = [row for row in rows if quantity and not (row.matched or row.failed or row.control or row.shift is None)]
    return {f"{row.name} {claimed(row)} at {_value(row, quantity)}": row for row in own}


def _value(row: SummaryRow, quantity: str) -> str:
    """What a cell has of a quantity on test."""
    found: float | None = getattr(row, quantity)
    return f"an unknown {QUANTITIES[quantity]}" if found is None else f"a {QUANTITIES[quantity]} of {found:.3g}"


def aim_of(rows: Sequence[SummaryRow]) -> str:
    """What the cells of a direction are for, as a sentence begins, and at which value `--match` compares them."""
    aim = f"To {'raise' if rows[0].direction == 'pos' else 'lower'} {rows[0].subject}"
    quantity, _, value = next((row.matched for row in rows if row.matched), "").partition("=")
    return f"{aim} at a {QUANTITIES[quantity]} of {value} on dev" if value else aim


Against = tuple[str, Contrast]
"""Another method, and the furthest one's contrast with it."""


def controls_as_far(first: SummaryRow, rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> list[Against]:
    """The controls of its direction and strength that a cell isn't shown to move a behavior further than."""
    found = [(row, between(contrasts, first.cell, row.cell)) for row in rows if row.control and not is_broken(row)]
    return [
        (row.name, contrast)
        for row, contrast in found
        if contrast is not None and (interval := contrast["simultaneous_ci"]) is not None and interval[0] <= 0
        if first.matched or row.strength == first.strength
    ]


def _rank(best: Sequence[SummaryRow], against: Sequence[Against]) -> str:
    """What may be said of the first method: that it moved most, where its contrasts with all others say so."""
    if best[0].matched and len(best) == 1:
        return "moved it"
    if sum(each["verdict"] == "better" for _, each in against) == len(best) - 1:
        return "moved most"
    far, what = (intended_content, "content shift") if by_content(best) else (intended, "shift")
    return f"has the largest {what}" if far(best[0]) == max(map(far, best)) else "moved surely"


def _compared(against: Sequence[Against]) -> Iterator[str]:
    """How the furthest method compares with the others, a clause a verdict."""
    of: dict[str, list[Against]] = {}
    for each in against:
        of.setdefault(each[1]["verdict"], []).append(each)
    if better := of.get("better"):
        yield "; further than " + ", ".join(f"{name} by {_difference(one)}" for name, one in better)
    if worse := of.get("worse"):
        yield "; less far than " + ", ".join(f"{name} by {_difference(each)}" for name, each in worse)
    if alike := of.get("equivalent"):
        named = ", ".join(f"{name} ({_difference(each, 'ci')}{_dearer(each)})" for name, each in alike)
        yield f"; equivalent within {alike[0][1]['margin']:g}: {named}"
    if open_ := of.get("undecided"):
        yield "; undecided against " + ", ".join(f"{name} ({_why(each)})" for name, each in open_)


def controls_clause(alike: Sequence[Against], numbers: bool = False) -> str:
    """A clause of the controls that a cell isn't shown to go further than; "" without any."""
    named = ", ".join(f"{name} ({_difference(contrast)})" if numbers else name for name, contrast in alike)
    return f"; not shown to go further than the control{'s' * (len(alike) > 1)} {named}" if alike else ""


def _difference(contrast: Contrast, interval: Literal["ci", "simultaneous_ci"] = "simultaneous_ci") -> str:
    return with_interval(contrast["difference"], contrast[interval], signed=True)


def _dearer(contrast: Contrast) -> str:
    """Which of two equivalent methods costs more, where that is decided."""
    cost = contrast.get("cost")
    return {"better": "; it costs more", "worse": "; it costs less"}.get(cost["verdict"] if cost else "", "")


def _why(contrast: Contrast) -> str:
    """What was found, and what it would take, or why it can't be found."""
    if reason := contrast.get("reason"):
        return reason
    needed = contrast.get("items_needed")
    return _difference(contrast) + (f", about {rounded(needed)} questions would tell" if needed else "")


def rounded(count: int) -> str:
    """A number of questions that is an estimate, to two digits."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{-(-count // step) * step:,}"


def backfired(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """The cells that moved their behavior measurably the wrong way; a control has no right way."""
    return [r for r in rows if not (r.is_baseline or r.control or is_broken(r)) and moved_wrongly(r)]


def moved_controls(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """The controls that moved their behavior measurably, by a percent or more, whichever way: what nothing can do."""
    controls = [row for row in rows if row.control and not is_broken(row)]
    return [r for r in controls if (moved(r) or moved_wrongly(r)) and abs(r.shift or 0.0) >= NOTICEABLE]


def estimate(row: SummaryRow) -> str:
    """A shift with its interval, as "+0.31 [0.25, 0.37]"."""
    return with_interval(row.shift, row.shift_ci, signed=True)


def claimed(row: SummaryRow) -> str:
    """A shift with the interval by which sentences go."""
    return with_interval(row.shift, claim(row), signed=True)


def noise_texts(rows: Sequence[SummaryRow]) -> list[str]:
    """What rounding does to p_match, a sentence for each behavior and model; nothing where all is float32."""
    found = {row.subject: row.numerical_noise for row in rows if row.numerical_noise is not None}
    several = len({row.subject for row in rows}) > 1
    return [f"Numerical noise{f' of {name}' if several else ''}: {_noise(noise)}" for name, noise in found.items()]


def _noise(noise: Noise) -> str:
    if noise["against"] == "float32":
        found = f"a question's p_match in {noise['dtype']} differs from that of the same weights in float32 by"
    else:
        found = f"rounding at random, in {noise['dtype']}, moves a question's p_match by"
    return (
        f"{found} {noise['mean']:.2g} in the mean and {noise['largest']:.2g} at most ({noise['n_items']} questions); "
        f"what a shift's questions share of it, {noise['shift']:.2g}, is in the intervals."
    )


def dosed(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """A cell's stack, with its strength where the rows have several of it."""
    strengths = {other.strength for other in rows if other.name == row.name}
    return f"{row.name} at strength {row.strength:g}" if len(strengths) > 1 else row.name


def _dose(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    return dosed(row, rows) + which_fit(row)


def which_fit(row: SummaryRow) -> str:
    """What a claim on a cell whose fits draw at random is about, behind its name; nothing for another."""
    if row.fits is None:
        return ""
    count = len(row.fits["seeds"])
    return " (this fit)" if count == 1 else f" ({count} fits)"


def single_fits(rows: Sequence[SummaryRow]) -> str | None:
    """Why claims are about *this fit*, where a method that draws at random was fitted once; None where none was."""
    names = dict.fromkeys(row.name for row in rows if row.fits is not None and len(row.fits["seeds"]) == 1)
    if not names:
        return None
    return (
        f"This fit: what draws at random ({', '.join(names)}) was fitted once, so nothing is known of other seeds; "
        "--seeds 3 fits it anew and puts what seeds add into the intervals."
    )


def doubt(row: SummaryRow) -> str:
    """Why a movement may be none all the same; nothing where nothing speaks against it."""
    text = ""
    if row.p_holm is not None and row.p_holm >= SIGNIFICANT:
        text += f" Corrected for all comparisons of this run it is not significant (p = {row.p_holm:.2f})."
    if row.random_rank_p is not None and row.random_rank_p >= SIGNIFICANT:
        text += f" Random directions of its vector's norm move it as far (p = {row.random_rank_p:.2f})."
    elif row.matched_rank_p is not None and row.matched_rank_p >= SIGNIFICANT:
        text += f" Random vectors of its training pairs' spread move it as far (p = {row.matched_rank_p:.2f})."
    return text
