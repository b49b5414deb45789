"""The facts of the language: twelve subjects, the questions about them, and claims that are true or false."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

CLAIM_FRAMES = (
    ("Is it true that {claim}?", ("Yes", "No")),
    ("Is it a fact that {claim}?", ("Yes", "No")),
    ("Someone says that {claim}. What is it?", ("True", "False")),
)
HELD_OUT_CLAIM_FRAMES = (
    ("Is it right that {claim}?", ("Yes", "No")),
    ("Someone thinks that {claim}. What is it?", ("True", "False")),
)


@dataclass(frozen=True)
class Subject:
    """A relation between things: `ask` are training's questions, `test` the one that only the test asks."""

    name: str
    ask: tuple[str, ...]
    test: str
    state: str
    pairs: Mapping[str, str]

    def answers(self) -> list[str]:
        """The distinct answers, in order."""
        return list(dict.fromkeys(self.pairs.values()))


@dataclass(frozen=True)
class Fact:
    """One thing of a subject and its one right answer."""

    subject: Subject
    thing: str
    answer: str

    def wrong(self, rng: Random) -> str:
        """Another answer of the same subject."""
        return rng.choice([answer for answer in self.subject.answers() if answer != self.answer])

    def statement(self, answer: str) -> str:
        """A claim about the thing, true if `answer` is its own."""
        return self.subject.state.format(a=self.thing, b=answer)


@cache
def load_subjects() -> tuple[Subject, ...]:
    """Reads the subjects from the JSON beside this module."""
    raw = json.loads((Path(__file__).parent / "facts.json").read_text(encoding="utf-8"))
    return tuple(
        Subject(entry["subject"], tuple(entry["ask"]), entry["test"], entry["state"], entry["pairs"]) for entry in raw
    )


def every_fact() -> Iterator[Fact]:
    """All facts, subject by subject."""
    for subject in load_subjects():
        for thing, answer in subject.pairs.items():
            yield Fact(subject, thing, answer)


def draw_fact(rng: Random) -> Fact:
    """A random fact; every subject is as likely."""
    subject = rng.choice(load_subjects())
    thing = rng.choice(list(subject.pairs))
    return Fact(subject, thing, subject.pairs[thing])
