"""Which questions are for fitting and which for testing: disjoint by stem, none of the latter in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from checkpoints.pocket.recipe.language import BEHAVIORS, Question, every_question, load_language

SEED = 7
GENERATE, TEST, OPEN_ENDED = 52, 20, 8  # questions of each of a behavior's five templates


@dataclass(frozen=True)
class Split:
    """A behavior's questions by purpose; no stem stands twice."""

    generate: tuple[Question, ...]
    test: tuple[Question, ...]
    open_ended: tuple[Question, ...]


@cache
def split(name: str) -> Split:
    """Draws a behavior's questions, the same number from each template."""
    language = load_language(name)
    rng = Random(f"{SEED}/{name}/split")
    parts: tuple[list[Question], list[Question], list[Question]] = ([], [], [])
    for template in language.templates:
        drawn = rng.sample(list(every_question(language, template)), GENERATE + TEST + OPEN_ENDED)
        parts[0].extend(drawn[:GENERATE])
        parts[1].extend(drawn[GENERATE : GENERATE + TEST])
        parts[2].extend(drawn[GENERATE + TEST :])
    for part in parts:
        rng.shuffle(part)
    return Split(*(tuple(part) for part in parts))


@cache
def reserved_stems() -> frozenset[str]:
    """The stems of all test and open-ended questions, which the training text must not hold."""
    splits = [split(name) for name in BEHAVIORS]
    return frozenset(question.stem for each in splits for question in each.test + each.open_ended)
