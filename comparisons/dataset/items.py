"""Multiple-choice items: finding the choices in a question's text, showing them in either order, and telling repeats.

The same content in other spacing, case or order of choices is the same item.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

Order = Literal["given", "swapped", "answers", "facts"]
"""How an item is asked: with its choices as given, with them exchanged, or by its choices' texts as answers to its
stem, compared by what they are a token ("answers") or a byte ("facts")."""

Measure = Literal["letters", "answers"]
"""By what is measured: the letters of lettered choices, or the choices' texts as answers to the question."""

ORDERS: tuple[Order, ...] = ("given", "swapped")


def fact_orders(orders: Sequence[Order]) -> tuple[Order, ...]:
    """How knowledge questions are asked in a run whose behaviors are asked in some orders."""
    return ("facts",) if "answers" in orders else tuple(orders)


_HEADING = re.compile(r"^[ \t]*Choices:[ \t]*\r?\n(?=\s*\(A\))", re.MULTILINE)
_MARK = re.compile(r"^[^\S\r\n]*\((?P<letter>[A-Z])\)", re.MULTILINE)
_ANY_HEADING = re.compile(r"^[ \t]*Choices:[ \t]*\r?\n", re.MULTILINE)
# "A)", "(a)", "a.", "A:", "A.)", "[A]", "- A)", "**A.**", "**A**.", "A - ", "A | ".
_OTHER_MARK = re.compile(
    r"^[^\S\r\n]*(?P<before>(?:[-*•][ \t]+)?(?P<bold>\*\*|__|)(?:(?P<open>[(\[（])[ \t]*)?)(?P<letter>[A-Za-z])"
    r"(?P<behind>(?(open)[ \t]*[)\]）][.:]?(?P=bold)"
    r"|(?:(?P=bold)(?:\.\)|[).:．：、])|[ \t]*(?:\.\)|[).:．：、])(?P=bold)|(?P=bold)[ \t]+[-–—|](?=[ \t]))))",
    re.MULTILINE,
)
# Some of Anthropic's sets begin the answer below the last choice: "Assistant: I believe the best answer is".
_TAIL = re.compile(r"^[ \t]*(?:Assistant|Answer):", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """One lettered choice.

    Attributes:
        letter: bare, "A".
        text: without surrounding blanks and newlines.
    """

    letter: str
    text: str


@dataclass(frozen=True)
class Presentation:
    """A question as it is asked in one order.

    Attributes:
        question: as it is shown.
        matching, contrast: its letters in that order, bare, several contrast letters joined; "" where texts answer it.
        texts: the answers in place of letters, the matching one first; empty where letters are asked for.
        unit: what the texts' log-likelihoods are divided by: their tokens or their bytes.
    """

    question: str
    matching: str
    contrast: str
    texts: tuple[str, ...] = ()
    unit: Literal["token", "byte"] = "token"


@dataclass(frozen=True)
class Layout:
    """Where the choices stand in a question.

    Attributes:
        stem: the question before its choices and their heading, without trailing blanks.
        spans: letter -> start and end of the choice's text, surrounding blanks left out; in order.
    """

    stem: str
    spans: Mapping[str, tuple[int, int]]

    def choices(self, question: str) -> tuple[Choice, ...]:
        """The choices of the question that this is the layout of."""
        return tuple(Choice(letter, question[start:end]) for letter, (start, end) in self.spans.items())

    def rewritten(self, question: str, texts: Mapping[str, str]) -> str:
        """The question with other texts for some of its choices, and every other character in its place."""
        parts, end = [], 0
        for letter, (start, stop) in self.spans.items():
            parts += [question[end:start], texts.get(letter, question[start:stop])]
            end = stop
        return "".join([*parts, question[end:]])


@lru_cache(16)  # a question is looked at several times while its item is made
def find_layout(question: str) -> Layout | None:
    """Finds the choices: letters in brackets that run A, B, C, … at the starts of lines.

    They are looked for below the last line "Choices:" that is followed by "(A)", or in the whole question. A
    choice may span lines. Of letters out of order the text between the right ones is made.

    Returns:
        None where no two letters run in order, or where the letters can be read as choices in several ways.
    """
    headings = list(_HEADING.finditer(question))
    heading = headings[-1] if headings else None
    begin = heading.end() if heading else 0
    marks = _only_run(list(_MARK.finditer(question, begin)))
    if not marks:
        return None
    tail = _TAIL.search(question, marks[-1].end())
    ends = [mark.start() for mark in marks[1:]] + [tail.start() if tail else len(question)]
    spans = {mark["letter"]: _stripped(question, mark.end(), end) for mark, end in zip(marks, ends, strict=True)}
    return Layout(question[: heading.start() if heading else marks[0].start()].rstrip(), spans)


def lettered_form(question: str) -> str | None:
    """The question with its choices as `find_layout` finds them: at lines' starts, "A)" or "**a.**" becomes "(A)".

    All letters of a question must be written alike; every character but those of the marks stays.

    Returns:
        The question itself where it has that form; None where it has no choices, or they can be told in several ways.
    """
    if find_layout(question) is not None:
        return question
    headings = list(_ANY_HEADING.finditer(question))
    alike: dict[Hashable, list[re.Match[str]]] = defaultdict(list)
    for mark in _OTHER_MARK.finditer(question, headings[-1].end() if headings else 0):
        around = ("".join(mark[part].split()) for part in ("before", "behind"))
        alike[(*around, mark["letter"].isupper())].append(mark)
    runs = [run for marks in alike.values() if (run := _only_run(marks))]
    if len(runs) != 1:
        return None
    parts, end = [], 0
    for mark in runs[0]:
        parts += [question[end : mark.start("before")], f"({mark['letter'].upper()})"]
        end = mark.end()
    shown = "".join([*parts, question[end:]])
    layout = find_layout(shown)
    return shown if layout is not None and len(layout.spans) == len(runs[0]) else None


def split_mark(text: str) -> tuple[str, str] | None:
    """The letter with which a text begins as a choice does, and what stands behind; None where it doesn't."""
    mark = _MARK.match(text) or _OTHER_MARK.match(text)
    return None if mark is None else (mark["letter"].upper(), text[mark.end() :])


def _only_run(marks: Sequence[re.Match[str]]) -> tuple[re.Match[str], ...]:
    """The longest run of marks that reads A, B, C, …; empty if there is none of two, or more than one."""
    ways = [1] + [0] * 26
    runs: list[tuple[re.Match[str], ...]] = [()] * 27
    for mark in marks:
        place = ord(mark["letter"].upper()) - ord("A") + 1
        if ways[place - 1]:
            ways[place] += ways[place - 1]
            runs[place] = (*runs[place - 1], mark)
    longest = max(place for place in range(27) if ways[place])
    return runs[longest] if longest >= 2 and ways[longest] == 1 else ()


def _stripped(question: str, start: int, end: int) -> tuple[int, int]:
    text = question[start:end]
    if not text.strip():
        return start, start
    return start + len(text) - len(text.lstrip()), start + len(text.rstrip())


@dataclass(frozen=True)
class Item:
    """One multiple-choice question.

    Attributes:
        id: stable and unique within its set: the set in the file's layout and the item's place in the file,
            counted from 0, as "test/12".
        question: exactly as in the file.
        matching: the letter that matches the behavior (the correct one of a knowledge question), bare: "A".
        contrast: the other letter, bare; of a question with one right letter among several, the others joined: "BCD".
        choices: empty where they could not be found in the question.
        stem: the question before its choices; the whole question where they could not be found.
        template: items of one template are alike, and are one cluster to the estimators.
        label: whatever truth the file tells about the item.
        category: the subject of a knowledge question.
        own_letters: whether its file gives it letters; else they were made for it.
    """

    id: str
    question: str
    matching: str
    contrast: str
    choices: tuple[Choice, ...]
    stem: str
    template: str | None = None
    label: str | None = None
    category: str | None = None
    own_letters: bool = True

    @classmethod
    def parse(
        cls,
        id: str,
        question: str,
        matching: str,
        contrast: str,
        *,
        template: str | None = None,
        label: str | None = None,
        category: str | None = None,
        own_letters: bool = True,
    ) -> Item:
        """An item whose choices and stem are found in its question."""
        layout = find_layout(question)
        choices = layout.choices(question) if layout else ()
        stem = layout.stem if layout else question
        return cls(id, question, matching, contrast, choices, stem, template, label, category, own_letters)

    @property
    def parsed(self) -> bool:
        """Whether the item can be shown in other orders: its letters have non-empty, different texts."""
        return bool(self._turned)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the matching choice and of its contrasts; empty where the question doesn't have them all."""
        found = {choice.letter: choice.text for choice in self.choices}
        texts = tuple(found.get(letter, "") for letter in (self.matching, *self.contrast))
        return texts if all(texts) and texts[0] not in texts[1:] else ()

    def orders(self, asked: Sequence[Order] = ORDERS) -> tuple[str, ...]:
        """The orders in which it is shown, of those asked for: "given" alone where it isn't parsed, none without texts.

        An item with several contrast letters is rotated in place of being exchanged, so that each text stands once
        under each letter: "given", "rotated1", "rotated2", …
        """
        if asked[0] in ("answers", "facts"):
            return tuple(asked) if self.texts else ()
        others = tuple(self._turned) if "swapped" in asked else ()
        return ("given", *others) if "given" in asked or not others else others

    def present(self, order: str) -> Presentation:
        """The question as shown in an order, and its letters there.

        "swapped" exchanges the texts of the matching and the contrast choice inside the verbatim question,
        and the two letters with them; "rotated1" moves each text of several on by a letter. An item that isn't
        parsed is shown as given in all orders.
        """
        if order in ("answers", "facts"):
            return Presentation(self.stem, "", "", self.texts, "byte" if order == "facts" else "token")
        if order == "given" or not self._turned:
            return Presentation(self.question, self.matching, self.contrast)
        return self._turned[order]

    @cached_property
    def _turned(self) -> dict[str, Presentation]:
        """The presentations in the other orders; empty unless all of them are sound."""
        letters = sorted({self.matching, *self.contrast})
        layout = find_layout(self.question) if self.choices else None
        if layout is None or not set(letters) <= layout.spans.keys():
            return {}
        texts = {choice.letter: choice.text for choice in layout.choices(self.question)}
        if not all(texts[letter] for letter in letters) or texts[self.matching] in map(texts.get, self.contrast):
            return {}
        names = ["swapped"] if len(letters) == 2 else [f"rotated{by}" for by in range(1, len(letters))]
        presentations = {}
        for by, name in enumerate(names, start=1):
            moved = {letters[(i + by) % len(letters)]: texts[letter] for i, letter in enumerate(letters)}
            question = layout.rewritten(self.question, moved)
            # In its new place a text with letter-like lines can read as choices: then only "given" is sound.
            again = find_layout(question)
            if again is None or again.choices(question) != tuple(Choice(*pair) for pair in (texts | moved).items()):
                return {}
            matching = letters[(letters.index(self.matching) + by) % len(letters)]
            presentations[name] = Presentation(question, matching, "".join(x for x in letters if x != matching))
        return presentations


def plain(text: str) -> str:
    """The text without differences of case and spacing."""
    return " ".join(text.lower().split())


def content(item: Item) -> Hashable:
    """Equal for items that ask the same: the stem and the choices' texts, in whatever order."""
    if not item.choices:
        return plain(item.question)
    return plain(item.stem), frozenset(plain(choice.text) for choice in item.choices)


def wanted(item: Item) -> Hashable:
    """What the item calls matching: the text, or the letter where the choices can't be read."""
    texts = {choice.letter: plain(choice.text) for choice in item.choices}
    return texts.get(item.matching, item.matching)


@dataclass(frozen=True)
class OpenPrompt:
    """A prompt to answer freely.

    Attributes:
        id: stable and unique within its behavior: "open/12".
        question: exactly as in the file.
        template: prompts of one template are alike, and are one cluster to the estimators.
    """

    id: str
    question: str
    template: str | None = None
