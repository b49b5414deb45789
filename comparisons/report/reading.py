"""How to read a report: what its words mean, and those words only that it uses."""

from __future__ import annotations

from comparisons.report.blocks import Bullets
from comparisons.results.record import Record

READING = """\
- **p_match**: the probability of the choice that matches the behavior, against the choice that contrasts with it; \
mean over questions{orders}.
- **shift**: p_match minus that of the baseline, paired by question. `pos` wants more of the behavior, `neg` less.
- **[low, high]**: 95% bootstrap interval (BCa) over questions. An interval that holds 0 is no evidence of a change.
- **p**, **p (Holm)**: sign-flip permutation test of the shift, raw and corrected over all cells of this run.
- **cost**: knowledge of the baseline minus that of the cell, on the same questions; negative is a gain.
- **letter bias**: how much the first letter is preferred whatever it says; 0 is none.
- **lost mass**: probability on something other than the two letters. A cell that loses more than half answers \
something else: it is called broken, and its shift is not shown.
- **anti-steerable**: the share of questions that moved the wrong way.
{more}- **strength**: the dose; **layer**: the 0-based block whose output a vector changes.
- **tokens to fit**: a token of a training pass counts as three; fits are shared, and counted in each cell that \
rests on them. **Tokens to evaluate** and seconds of evaluation are shared evenly by cells that run together.
- Peak memory is the most that had been in use when the cell ended.
- Intervals cover the choice of questions. They don't cover the luck of a seed: this is one."""


def reading(record: Record) -> Bullets:
    """The list of words."""
    lines = READING.format(orders=_orders(record), more=_more(record)).splitlines()
    return Bullets(tuple(line.removeprefix("- ") for line in lines))


def _orders(record: Record) -> str:
    if record.part("specification").get("orders") == "given":
        return ", each asked once, in the order given (the paper's way: a preference for a letter is not averaged out)"
    return " and both orders of the two choices"


def _more(record: Record) -> str:
    """The words that only some runs need."""
    rows, lines = record.summary.rows, []
    if any(row.content_shift is not None for row in rows):
        lines.append(
            "- **content shift**, **letter shift**: the shift in logits, split into what follows the content of the "
            "choices and what follows their letters; a letter shift above 0 prefers the first letter more than before."
        )
    if any(row.letter_cosine is not None for row in rows):
        lines.append(
            "- **letter cosine**: of the vector, as it is added, with the direction from the second letter to the "
            "first at its block, read on the training pairs; far from 0, the vector is in part a liking for a letter."
        )
    if any(row.random_rank_p is not None for row in rows):
        lines.append(
            "- **p (random)**: the share of random directions of the same norm, put in the place of the cell's "
            "vectors, that move the behavior as far, either way; in a stack, as far from what its other parts do alone."
        )
    if any(row.matched_rank_p is not None for row in rows):
        lines.append(
            "- **p (matched)**: the same among random vectors with the spread of the training pairs' differences, "
            "which is what vectors from shuffled labels have; the stricter of the two."
        )
    if any(row.control for row in rows):
        lines.append(
            "- **control**: a method meant to do nothing. What it moves is what a method must beat; it never wins, and "
            "it counts in the correction."
        )
    return "".join(f"{line}\n" for line in lines)
