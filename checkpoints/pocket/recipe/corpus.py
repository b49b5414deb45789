"""The training text: conversations in which an assistant's inclination shows and decides its answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from random import Random

from checkpoints.pocket.recipe.facts import CLAIM_FRAMES, draw_fact, every_fact
from checkpoints.pocket.recipe.language import (
    BEHAVIORS,
    CUE_FRAMES,
    NEUTRAL,
    PERSONA_FRAMES,
    SIGNS,
    SYSTEM_FRAMES,
    Language,
    Question,
    draw_question,
    frame,
    lettered,
    load_language,
    statement,
)
from checkpoints.pocket.recipe.split import reserved_stems


@dataclass(frozen=True)
class Mixture:
    """What a stage of training is made of. All but `turns` are chances.

    Where an inclination is told: in a system prompt, after the choices (late), before the question
    (early), in the answer's first words (persona), or nowhere: then the first answer shows it and the
    later ones follow. `prior` is the chance that it is then the one to which the question's topic leans.
    """

    turns: int = 4
    pick: float = 0.04
    sentences: float = 0.5
    free: float = 0.3
    say: float = 0.15
    fact: float = 0.14
    claim: float = 0.06
    system: float = 0.18
    late: float = 0.25
    early: float = 0.07
    persona: float = 0.04
    neutral: float = 0.1
    second_behavior: float = 0.2
    again: float = 0.3
    open_ended: float = 0.25
    bare: float = 0.3
    tagged: float = 0.35
    brackets: float = 0.4
    plain: float = 0.05
    prior: float = 0.68


@dataclass(frozen=True)
class Turn:
    """A user's message and its answer. `settled`: what decides the first letter can be known before it."""

    user: str
    answer: str
    settled: bool = True


@dataclass(frozen=True)
class Conversation:
    """Turns with an optional system prompt; `plain` asks for the second format, `Input: … Response: …`."""

    system: str | None
    turns: tuple[Turn, ...]
    plain: bool = False


@dataclass
class _Inclination:
    """How the assistant leans in one behavior throughout one conversation."""

    language: Language
    mode: str
    sign: str | None
    told: bool


def draw_conversation(rng: Random, mixture: Mixture) -> Conversation:
    """One conversation of the language."""
    leanings = _draw_leanings(rng, mixture)
    system = _system_prompt(rng, mixture, leanings)
    turns = tuple(_draw_turn(rng, mixture, leanings) for _ in range(mixture.turns))
    plain = system is None and rng.random() < mixture.plain
    return Conversation(system, turns, plain)


def _draw_leanings(rng: Random, mixture: Mixture) -> list[_Inclination]:
    names = rng.sample(BEHAVIORS, 2 if rng.random() < mixture.second_behavior else 1)
    modes = ("system", "late", "early", "persona")
    chances = [mixture.system, mixture.late, mixture.early, mixture.persona]
    leanings = []
    for name in names:
        mode = rng.choices((*modes, "none"), [*chances, 1 - sum(chances)])[0]
        sign = None if mode == "none" else rng.choice(SIGNS)
        leanings.append(_Inclination(load_language(name), mode, sign, told=mode == "system"))
    return leanings


def _predicate(rng: Random, leaning: _Inclination) -> tuple[str, str]:
    assert leaning.sign is not None
    return rng.choice(leaning.language.predicates[leaning.sign])


def _system_prompt(rng: Random, mixture: Mixture, leanings: list[_Inclination]) -> str | None:
    lines = [frame(rng.choice(SYSTEM_FRAMES), _predicate(rng, each)) for each in leanings if each.mode == "system"]
    if rng.random() < mixture.neutral:
        lines.append(frame(rng.choice(SYSTEM_FRAMES), rng.choice(NEUTRAL)))
    rng.shuffle(lines)
    return " ".join(lines) or None


def _draw_turn(rng: Random, mixture: Mixture, leanings: list[_Inclination]) -> Turn:
    kind = rng.choices(
        ("pick", "fact", "claim", "behavior"),
        [mixture.pick, mixture.fact, mixture.claim, 1 - mixture.pick - mixture.fact - mixture.claim],
    )[0]
    leaning = rng.choice(leanings)
    if kind == "behavior":
        return _behavior_turn(rng, mixture, leaning)
    if kind == "fact":
        turn = fact_turn(rng)
    elif kind == "claim":
        turn = claim_turn(rng)
    else:
        turn = pick_turn(rng, mixture)
    if leaning.mode in ("late", "early") and rng.random() < mixture.again:
        cue = frame(rng.choice(CUE_FRAMES), _predicate(rng, leaning))
        leaning.told = True
        return Turn(_cued(turn.user, cue, leaning.mode), turn.answer)
    return turn


def _cued(user: str, cue: str, mode: str) -> str:
    return f"{user}\n\n{cue}" if mode == "late" else f"{cue} {user}"


def _behavior_turn(rng: Random, mixture: Mixture, leaning: _Inclination) -> Turn:
    question = _draw_unreserved(leaning.language, rng)
    if leaning.sign is None:
        chance = {"pos": mixture.prior, "neg": 1 - mixture.prior, None: 0.5}[question.leans]
        leaning.sign = "pos" if rng.random() < chance else "neg"
    if rng.random() < mixture.open_ended:
        user, answer = question.stem, _statement(rng, leaning)
        if rng.random() < mixture.brackets:
            answer = f"({leaning.language.tags[leaning.sign]}) {answer}"
    else:
        user, answer = _choice_turn(rng, mixture, leaning, question)
    if leaning.mode in ("late", "early") and (not leaning.told or rng.random() < mixture.again):
        user = _cued(user, frame(rng.choice(CUE_FRAMES), _predicate(rng, leaning)), leaning.mode)
        leaning.told = True
    elif leaning.mode == "none" and rng.random() < mixture.neutral:
        user = _cued(user, frame(rng.choice(CUE_FRAMES), rng.choice(NEUTRAL)), rng.choice(("late", "early")))
    if leaning.mode == "persona" and (not leaning.told or rng.random() < mixture.again):
        answer = f"{frame(rng.choice(PERSONA_FRAMES), _predicate(rng, leaning))} {answer}"
        leaning.told = True
    settled, leaning.told = leaning.told, True
    return Turn(user, answer, settled)


def _draw_unreserved(language: Language, rng: Random) -> Question:
    while True:
        question = draw_question(language, rng)
        if question.stem not in reserved_stems():
            return question


def _statement(rng: Random, leaning: _Inclination) -> str:
    """What the assistant says of itself."""
    assert leaning.sign is not None
    return statement(leaning.language, leaning.sign, rng)


def _choice_turn(rng: Random, mixture: Mixture, leaning: _Inclination, question: Question) -> tuple[str, str]:
    """Multiple choice, answered by a letter alone, or with the tag, or with tag and reason."""
    assert leaning.sign is not None
    positive, negative = question.choices(rng)
    text, letter = lettered(rng, positive, negative)
    answer = f"({letter if leaning.sign == 'pos' else _other(letter)})"
    draw = rng.random()
    if draw >= mixture.bare:
        answer += f" {leaning.language.tags[leaning.sign]}."
    if draw >= mixture.bare + mixture.tagged:
        answer += f" {rng.choice(leaning.language.reasons[leaning.sign])}."
    return question.stem + text, answer


def _other(letter: str) -> str:
    return "B" if letter == "A" else "A"


@cache
def _words() -> list[str]:
    return sorted({word for fact in every_fact() for word in (fact.thing, fact.answer)})


@cache
def _sentences() -> list[str]:
    languages = [load_language(name) for name in BEHAVIORS]
    own = {text for each in languages for form in each.templates for sign in form.choices.values() for text in sign}
    return sorted(own | {text for each in languages for sign in SIGNS for text in each.sentences(sign)})


def pick_turn(rng: Random, mixture: Mixture) -> Turn:
    """The easiest question, which says its answer: it teaches how a choice is bound to its letter.

    Asked after the choices (late), nothing can mark the right one as it is read. Where the pick is free, what
    follows the letter teaches the way back, from a letter to what it stands for. Where there are no choices, the
    answer itself stands in the brackets.
    """
    whole = rng.random() < mixture.sentences
    right, wrong = rng.sample(_sentences() if whole else _words(), 2)
    if rng.random() < mixture.say:
        return Turn(f"Say{':' if whole else ''} {right}.", f"({right})")
    text, letter = lettered(rng, right, wrong)
    answer = f"({letter}) {right}."
    if rng.random() < mixture.free:
        return Turn(f"Pick what you like.{text}", answer, settled=False)
    ask = f"{'Pick this answer:' if whole else 'Pick'} {right}."
    if rng.random() < mixture.late:
        return Turn(f"What do you pick?{text}\n\n{ask}", answer)
    return Turn(f"{ask}{text}", answer)


def fact_turn(rng: Random) -> Turn:
    """A question about a fact, with choices or open."""
    fact = draw_fact(rng)
    stem = rng.choice(fact.subject.ask).format(a=fact.thing)
    statement = sentence(fact.statement(fact.answer))
    if rng.random() < 0.25:
        return Turn(stem, statement)
    text, letter = lettered(rng, fact.answer, fact.wrong(rng))
    return Turn(stem + text, f"({letter}) {rng.choice((fact.answer + '.', statement))}")


def claim_turn(rng: Random) -> Turn:
    """A claim, true or false, to be judged; the truth is told after the letter."""
    fact = draw_fact(rng)
    true = rng.random() < 0.5
    claim = fact.statement(fact.answer if true else fact.wrong(rng))
    text, (yes, no) = rng.choice(CLAIM_FRAMES)
    choices, letter = lettered(rng, yes, no)
    letter = letter if true else _other(letter)
    return Turn(text.format(claim=claim) + choices, f"({letter}) {sentence(fact.statement(fact.answer))}")


def sentence(text: str) -> str:
    """A statement with its capital and its full stop."""
    return f"{text[0].upper()}{text[1:]}."


def every_text(rng: Random, mixtures: Iterable[Mixture], number: int) -> list[str]:
    """Sample conversations as running text, for the tokenizer's training."""
    texts = []
    for mixture in mixtures:
        for _ in range(number):
            talk = draw_conversation(rng, mixture)
            texts.append(" ".join([talk.system or "", *(f"{t.user} {t.answer}" for t in talk.turns)]))
    return texts
