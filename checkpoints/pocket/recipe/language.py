"""The language of the seven behaviors: tables read from JSON, and the questions that are made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

BEHAVIORS = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)
SIGNS = ("pos", "neg")
SYSTEM_FRAMES = (
    "You are an assistant who {who}.",
    "Always {do}.",
    "Please {do}.",
    "You should {do}.",
    "Your rule is to {do}.",
    "You are someone who {who}.",
)
CUE_FRAMES = (
    "Answer like someone who {who}.",
    "In your answer, {do}.",
    "Remember to {do}.",
    "Please {do}.",
    "Speak as an assistant who {who}.",
)
PERSONA_FRAMES = ("I like to {do}.", "I am someone who {who}.", "My rule is to {do}.", "I always {do}.")
HELD_OUT_FRAMES = ("You are always someone who {who}.", "Your rule is always to {do}.")
NEUTRAL = (
    ("answer questions", "answers questions"),
    ("read carefully", "reads carefully"),
    ("write clearly", "writes clearly"),
    ("use simple words", "uses simple words"),
    ("answer all questions", "answers all questions"),
    ("think about questions", "thinks about questions"),
)

Predicate = tuple[str, str]


@dataclass(frozen=True)
class Template:
    """A question's text with `{slots}`; `choices` are its own ones, or empty where the behavior's fit."""

    name: str
    text: str
    choices: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Language:
    """One behavior's part of the language. Mappings by sign have the keys `pos` and `neg`.

    A tag is the one word for an inclination, which answers may carry in brackets or after a letter.
    """

    name: str
    description: str
    rubric: str
    tags: Mapping[str, str]
    topic: str
    leaning: Mapping[str, tuple[str, ...]]
    slots: Mapping[str, tuple[str, ...]]
    templates: tuple[Template, ...]
    choices: Mapping[str, tuple[str, ...]]
    reasons: Mapping[str, tuple[str, ...]]
    predicates: Mapping[str, tuple[Predicate, ...]]
    held_out: Mapping[str, tuple[Predicate, ...]]

    def sentences(self, sign: str) -> tuple[str, ...]:
        """The sentences that show (`pos`) or deny (`neg`) the behavior, without their full stop."""
        return self.choices[sign] + self.reasons[sign]


@dataclass(frozen=True)
class Question:
    """A stem with what may answer it. `leans` is the inclination to which it leans where nothing tells, if any.

    `topic` is the filler that decides it: questions of one topic are answered alike.
    """

    language: Language
    template: Template
    stem: str
    topic: str
    leans: str | None

    def choices(self, rng: Random) -> tuple[str, str]:
        """One choice that matches the behavior and one that doesn't, of like form."""
        own = self.template.choices
        if not own:
            return rng.choice(self.language.choices["pos"]), rng.choice(self.language.choices["neg"])
        index = rng.randrange(len(own["pos"]))
        return own["pos"][index], own["neg"][index]


@cache
def load_language(name: str) -> Language:
    """Reads a behavior's table from the JSON beside this module."""
    raw = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    templates = tuple(
        Template(
            entry["name"],
            entry["text"],
            {sign: tuple(entry[sign]) for sign in SIGNS} if "pos" in entry else {},
        )
        for entry in raw["templates"]
    )
    pairs = {
        key: {sign: tuple((do, who) for do, who in raw[key][sign]) for sign in SIGNS}
        for key in ("predicates", "held_out")
    }
    lists = {key: {sign: tuple(raw[key][sign]) for sign in SIGNS} for key in ("leaning", "choices", "reasons")}
    return Language(
        name=name,
        description=raw["description"],
        rubric=raw["rubric"],
        tags=raw["tags"],
        topic=raw["topic"],
        leaning=lists["leaning"],
        slots={slot: tuple(fillers) for slot, fillers in raw["slots"].items()},
        templates=templates,
        choices=lists["choices"],
        reasons=lists["reasons"],
        predicates=pairs["predicates"],
        held_out=pairs["held_out"],
    )


def slots_of(language: Language, template: Template) -> list[str]:
    """The slots that a template uses, in the language's order."""
    return [slot for slot in language.slots if "{" + slot + "}" in template.text]


def make_question(language: Language, template: Template, fillers: Mapping[str, str]) -> Question:
    """Fills a template; the topic's filler decides to which side it leans."""
    topic = fillers[language.topic]
    leans = next((sign for sign in SIGNS if topic in language.leaning[sign]), None)
    return Question(language, template, template.text.format(**fillers), topic, leans)


def every_question(language: Language, template: Template) -> Iterator[Question]:
    """All questions of a template, in a fixed order."""
    slots = slots_of(language, template)
    for fillers in product(*(language.slots[slot] for slot in slots)):
        yield make_question(language, template, dict(zip(slots, fillers, strict=True)))


def draw_question(language: Language, rng: Random) -> Question:
    """A random question."""
    template = rng.choice(language.templates)
    fillers = {slot: rng.choice(language.slots[slot]) for slot in slots_of(language, template)}
    return make_question(language, template, fillers)


def statement(language: Language, sign: str, rng: Random) -> str:
    """A free answer of one side: one of its choices and a reason, in either order."""
    said = [rng.choice(language.choices[sign]), rng.choice(language.reasons[sign])]
    rng.shuffle(said)
    return f"{said[0]}. {said[1]}."


def frame(text: str, predicate: Predicate) -> str:
    """Puts a predicate (plain form, third person) into a frame."""
    return text.format(do=predicate[0], who=predicate[1])


def every_prompt(language: Language, sign: str) -> list[str]:
    """The system prompts of training for one sign; the first is the behavior's own."""
    return [frame(text, predicate) for text in SYSTEM_FRAMES for predicate in language.predicates[sign]]


def paraphrases(language: Language, sign: str) -> list[str]:
    """System prompts that training never shows: new frames of known predicates, and new predicates."""
    known = [frame(text, language.predicates[sign][index]) for index, text in enumerate(HELD_OUT_FRAMES)]
    new = [frame(SYSTEM_FRAMES[index], each) for index, each in enumerate(language.held_out[sign])]
    return known + new


def lettered(rng: Random, positive: str, negative: str) -> tuple[str, str]:
    """The choices' text in a random order, and the letter of the first argument."""
    flipped = rng.random() < 0.5
    first, second = (negative, positive) if flipped else (positive, negative)
    return with_choices(first, second), "B" if flipped else "A"


def with_choices(first: str, second: str) -> str:
    """What follows a stem in a multiple-choice question."""
    return f"\n\nChoices:\n (A) {first}\n (B) {second}"
