"""Whether an answer is language, by what can be counted; and how that is joined with what the answer shows."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from comparisons.judges.interface import MOST, Verdict
from comparisons.util.directions import Direction

RUN = 15
"""Characters of the runs whose repetition is counted: some three words, in a script without spaces too."""

HALF = 2
"""Times the share of a fault: what half of an answer has leaves nothing of its score."""

BROKEN = frozenset({"Cc", "Cn", "Co", "Cs"})
"""Unicode's categories of what is no text: control characters, unassigned, private and surrogate ones."""

JOINED = {"CJK": "JAPANESE", "HIRAGANA": "JAPANESE", "KATAKANA": "JAPANESE", "KATAKANA-HIRAGANA": "JAPANESE"}
"""Scripts that one language is written in."""


def coherence(question: str, answer: str) -> Verdict:
    """What three faults leave of 10, each less twice its share of an answer; 0 for an answer without words.

    It sees neither grammar nor sense: words at random pass.
    """
    if not any(character.isalnum() for character in answer):
        return Verdict(0.0, "no words")
    faults = {
        "repeated": repeated(" ".join(answer.lower().split()), RUN),
        "broken": _broken(answer),
        "in another script": _foreign(question, answer),
    }
    score = MOST
    for share in faults.values():
        score *= max(0.0, 1 - HALF * share)
    said = [f"{share:.0%} {fault}" for fault, share in faults.items() if share]
    return Verdict(score, ", ".join(said) or "no fault seen")


def repeated(parts: Sequence[str], length: int) -> float:
    """The share of the runs of that many parts that stood before, 0 to 1; 0 where there is no run."""
    runs = [tuple(parts[i : i + length]) for i in range(len(parts) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _broken(answer: str) -> float:
    """The share of the characters, spaces aside, that are no text or stand for what could not be decoded."""
    shown = [c for c in answer if not c.isspace()]
    return sum(c == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(c) in BROKEN for c in shown) / len(shown)


def _foreign(question: str, answer: str) -> float:
    """The share of an answer's letters in scripts that the question has no letter of; 0 where it has no letters."""
    asked, given = _scripts(question), _scripts(answer)
    return sum(n for script, n in given.items() if script not in asked) / given.total() if asked and given else 0.0


def _scripts(text: str) -> Counter[str]:
    """Script -> letters, by the first word of their Unicode names."""
    first = (unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    return Counter(JOINED.get(script, script) for script in first)


def combined(score: float | None, coherent: float | None, direction: Direction) -> float | None:
    """The harmonic mean of how far an answer goes towards a direction, and its coherence; all of them 0 to 10.

    Where either is 0 so is the mean, also where the other is missing; else None where one is missing. It is the
    mean by which AxBench joins concept, instruction and fluency (Wu et al. 2025, arXiv 2501.17148).

    Args:
        score: of the behavior, 10 for all of it.
        coherent: whether it is language.
        direction: what is wanted: "neg" wants a low score.
    """
    towards = score if score is None or direction == "pos" else MOST - score
    if towards == 0 or coherent == 0:
        return 0.0
    return None if towards is None or coherent is None else 2 * towards * coherent / (towards + coherent)
