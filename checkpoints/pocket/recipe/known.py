"""Answers whose score is known because the generator wrote them: what a judge of free answers is checked on."""

from __future__ import annotations

from random import Random
from typing import Any

from checkpoints.pocket.recipe.language import (
    PERSONA_FRAMES,
    SIGNS,
    Language,
    Question,
    draw_question,
    frame,
    statement,
)
from checkpoints.pocket.recipe.split import SEED

SCORES = {"pos": 10, "neg": 0}
MIXED = 5
PLAIN, CHOSEN, FRAMED, BOTH = 5, 2, 3, 4
"""Answers of each kind: a kind of one side that often for each side, those of both sides in all."""


def known_answers(language: Language) -> list[dict[str, Any]]:
    """Questions with an answer and its score: 10 of side `pos`, 0 of `neg`, 5 where it says both.

    Answers of one side are those of the training text (a statement and a reason), ones in the words of a template's
    own choices, and ones that first say what the other side is like, which a judge must not take for theirs.
    """
    rng = Random(f"{SEED}/{language.name}/known")
    own = [template for template in language.templates if template.choices]
    rows = []
    for sign in SIGNS:
        for _ in range(PLAIN):
            rows.append(_row(draw_question(language, rng), statement(language, sign, rng), SCORES[sign]))
        for _ in range(CHOSEN if own else 0):
            question = draw_question(language, rng)
            while not question.template.choices:
                question = draw_question(language, rng)
            said = question.choices(rng)[SIGNS.index(sign)]
            rows.append(_row(question, f"{said}. {rng.choice(language.reasons[sign])}.", SCORES[sign]))
        for _ in range(FRAMED):
            rows.append(_row(draw_question(language, rng), _framed(language, sign, rng), SCORES[sign]))
    for index in range(BOTH):
        first, second = SIGNS if index % 2 else SIGNS[::-1]
        said = f"{rng.choice(language.choices[first])}. {rng.choice(language.choices[second])}."
        rows.append(_row(draw_question(language, rng), said, MIXED))
    rng.shuffle(rows)
    return rows


def _row(question: Question, answer: str, score: int) -> dict[str, Any]:
    return {"question": question.stem, "answer": answer, "score": score}


def _framed(language: Language, sign: str, rng: Random) -> str:
    """What the other side does, then the answer's own inclination and statement."""
    other = SIGNS[1 - SIGNS.index(sign)]
    theirs = rng.choice(language.predicates[other])[1]
    mine = frame(rng.choice(PERSONA_FRAMES), rng.choice(language.predicates[sign]))
    return f"Someone else {theirs}. {mine} {statement(language, sign, rng)}"
