"""From a record to its item: lettered choices, two answers, claims that are true or false, MMLU's several choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from unicodedata import normalize

from comparisons.dataset.fields import (
    Record,
    as_letter,
    as_mark,
    check_text,
    describe,
    field_names,
    is_usual,
    letter_field,
    optional_field,
    spoken,
    text_field,
)
from comparisons.dataset.items import Item, find_layout, lettered_form, plain, split_mark
from comparisons.dataset.turns import Turns
from comparisons.util.errors import CompareError

SHORT = 40
"""Characters up to which an answer may be many items', as "Yes" is, and is a group of its own."""


@dataclass(frozen=True)
class Fields:
    """What a file calls the question, the matching letter and the contrast letter."""

    question: str
    matching: str
    contrast: str


BEHAVIOR = Fields("question", "answer_matching_behavior", "answer_not_matching_behavior")
KNOWLEDGE = Fields("prompt", "correct", "incorrect")
_PAIRS = (("chosen", "rejected"), ("positive", "negative"))
ANSWERS = Fields("question", "matching", "contrast")
"""Mostly of an item without letters, whose two answers are texts."""
OTHER_NAMES = (
    Fields("question", "matching", "not_matching"),
    *(Fields(question, *pair) for question in ("question", "prompt") for pair in _PAIRS),
)
"""What others call an item's question and its two answers."""
STATEMENT, CLAIM = "statement", "Is this statement true or false?"
TRUTHS = {**dict.fromkeys(("1", "1.0", "true", "yes"), True), **dict.fromkeys(("0", "0.0", "false", "no"), False)}
CHOICES, ANSWER, SUBJECT = "choices", "answer", "subject"
"""Of a knowledge question with one right choice among several, none of which is *the* contrast."""
_LISTED = re.compile(r"\[\s*(['\"]).*\1\s*\]", re.DOTALL)
"""What tables make of a list of texts."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TAGS = ("template", "label", "category")
_PUBLISHED = (STATEMENT, "label_confidence", "correct_full_text", "incorrect_full_text")
"""Fields of Anthropic's evaluations and the paper's data that repeat what is read, or that nothing needs."""

Note = Callable[[str, str], None]
"""Told what was unusual and how it was read: what it is about, and a phrase."""


@dataclass(frozen=True)
class Origin:
    """Where a record stands.

    Attributes:
        number: in its file, counted from 1.
    """

    where: str
    id: str = ""
    number: int = 1
    note: Note = lambda about, text: None
    turns: Turns = field(default_factory=Turns)

    def letter(self, record: Record, question: str, letters: Sequence[str], answer: str) -> str:
        """One of the letters, for a record with this answer; see `Turns`."""
        tags = [record.get(name) for name in TAGS]
        groups = [None if isinstance(tag, (dict, list)) else tag for tag in tags]
        groups.append(answer.lower() if len(answer) <= SHORT else None)
        return self.turns.letter(self.number, question, letters, groups)


def read_item(record: Record, origin: Origin, fields: Fields = BEHAVIOR, answers: Fields | None = None) -> Item:
    """Reads one item of a behavior or, with the fields `KNOWLEDGE`, a knowledge question; see `records.read_items`.

    Raises:
        CompareError: names the item and the field.
    """
    if fields is KNOWLEDGE:
        several = CHOICES in record or (BEHAVIOR.matching in record and BEHAVIOR.contrast not in record)
        return _many(record, origin) if several else _pair(record, origin, KNOWLEDGE)
    if answers is not None:
        return _pair(record, origin, answers)
    if STATEMENT in record and BEHAVIOR.question not in record and BEHAVIOR.matching not in record:
        return _claim(record, origin)
    for names in OTHER_NAMES:
        if set(vars(names).values()) <= record.keys() and BEHAVIOR.matching not in record:
            called = ", ".join(vars(names).values())
            origin.note("names", f"its fields {called} are read as {', '.join(vars(ANSWERS).values())}")
            return _pair(record, origin, names)
    if BEHAVIOR.matching in record or BEHAVIOR.question not in record:
        return _pair(record, origin, BEHAVIOR)
    if {ANSWERS.matching, ANSWERS.contrast} & record.keys():
        return _pair(record, origin, ANSWERS)
    text_field(record, BEHAVIOR.question, origin.where)
    raise CompareError(
        f"{origin.where}: field '{BEHAVIOR.matching}' is missing, or '{ANSWERS.matching}' and '{ANSWERS.contrast}' of "
        "answers without letters, which `compare data split` also takes by --columns; there are: "
        f"{field_names(record)}."
    )


def names_read(fields: Fields, answers: Fields | None) -> frozenset[str]:
    """The names of all fields that are read, and of those that published sets have beside them."""
    forms = (fields, BEHAVIOR, ANSWERS, *OTHER_NAMES) if answers is None else (answers,)
    many = (CHOICES, ANSWER, SUBJECT) if fields is KNOWLEDGE else ()
    return frozenset((*TAGS, *_PUBLISHED, *many, *(name for form in forms for name in vars(form).values())))


def _pair(record: Record, origin: Origin, names: Fields) -> Item:
    """A question with two answers: letters of its choices, these choices' texts, or texts that get letters."""
    record = _one_answer_each(spoken(record, vars(names).values(), origin.note), origin, names)
    question = text_field(record, names.question, origin.where)
    shown = lettered_form(question)
    fields = (names.matching, names.contrast)
    texts = [text_field(record, field, origin.where) for field in fields]
    found = [_letter(text, shown or "") for text in texts]
    meant = any(map(split_mark, texts)) or (names is BEHAVIOR and shown == question)
    if not any(found) and not (shown and meant):
        return _answered(record, origin, names)
    matching, contrast = (
        letter or letter_field(record, field, origin.where) for letter, field in zip(found, fields, strict=True)
    )
    if shown is None and not all(map(is_usual, texts)):
        raise CompareError(
            f"{origin.where}: fields '{names.matching}' and '{names.contrast}' are letters, but no choices are found "
            "in its question: write each on a line of its own, as (A) … and (B) …."
        )
    for text in texts:
        if as_letter(text) is None:
            origin.note("answers", f"answers that repeat a choice, such as {describe(text)}, are read as its letter")
        elif not is_usual(text):
            origin.note("letters", f"letters such as {describe(text)} are read as ({as_letter(text)})")
    if shown not in (None, question):
        origin.note("choices", "choices that are lettered otherwise are shown as (A) and (B)")
    item = _item(origin, shown or question, (matching, contrast), record)
    _check_letters(item, origin.where, names)
    return item


def _one_answer_each(record: Record, origin: Origin, names: Fields) -> Record:
    """The record with one answer in each field, of lists too; of several contrast letters one is drawn."""
    for name in (names.matching, names.contrast):
        record = _number(_one(record, name, origin), name, origin)
    listed = record.get(names.contrast)
    if not isinstance(listed, list):
        return record
    if not listed:
        raise CompareError(f"{origin.where}: field '{names.contrast}' is an empty list: it needs a letter.")
    every = [letter_field({names.contrast: each}, names.contrast, origin.where) for each in listed]
    matching = letter_field(record, names.matching, origin.where)
    if matching in every:
        raise CompareError(f"{origin.where}: field '{names.contrast}' lists the matching letter too.")
    question = text_field(record, names.question, origin.where)
    return {**record, names.contrast: origin.letter(record, question, every, matching)}


def _one(record: Record, field: str, origin: Origin) -> Record:
    """The record with what a list of one holds in the list's place."""
    value = record.get(field)
    if not isinstance(value, list) or len(value) != 1:
        return record
    origin.note("lists", "answers that are lists of one are read as that one")
    return {**record, field: value[0]}


def _number(record: Record, field: str, origin: Origin) -> Record:
    """The record with a number as text: in CSV it is one, and JSON and parquet made of it have the number."""
    value = record.get(field)
    if not isinstance(value, (int, float)) or (isinstance(value, float) and not isfinite(value)):
        return record
    origin.note("numbers", "answers that are numbers, or true and false, are read as texts")
    return {**record, field: optional_field(record, field, origin.where)}


def _letter(answer: str, question: str) -> str | None:
    """The letter that an answer is, or that of the one choice whose text it repeats, alone or behind its letter."""
    letter, layout = as_letter(answer), find_layout(question)
    if letter is not None or layout is None:
        return letter
    mark, rest = split_mark(answer) or ("", answer)
    repeated = [
        choice.letter
        for choice in layout.choices(question)
        if _bare(choice.text) == _bare(rest) and mark in ("", choice.letter)
    ]
    return repeated[0] if len(repeated) == 1 else None


def _bare(text: str) -> str:
    """A text without differences of case, blanks, and a full stop at its end."""
    return plain(text).rstrip(".")


def _check_letters(item: Item, where: str, names: Fields) -> None:
    """Whether the letters differ and are some of the choices'."""
    if item.matching == item.contrast:
        raise CompareError(
            f"{where}: fields '{names.matching}' and '{names.contrast}' are both ({item.matching}): "
            "they must name different choices."
        )
    letters = [choice.letter for choice in item.choices]
    for name, letter in ((names.matching, item.matching), (names.contrast, item.contrast)):
        if letters and letter not in letters:
            named = ", ".join(letters)
            raise CompareError(f"{where}: field '{name}' is ({letter}), but the choices are {named}.")


def _answered(record: Record, origin: Origin, names: Fields) -> Item:
    """A question with two answers that are texts: which of them stands first is drawn."""
    question, matching, contrast = (
        text_field(record, name, origin.where).strip() for name in (names.question, names.matching, names.contrast)
    )
    # Either may be the one that is called A.
    matching, contrast = _unmarked([matching, contrast], origin)
    contrast, matching = _unmarked([contrast, matching], origin)
    if normalize("NFC", matching) == normalize("NFC", contrast):
        raise CompareError(f"{origin.where}: fields '{names.matching}' and '{names.contrast}' hold the same answer.")
    if all(map(_LISTED.fullmatch, (matching, contrast))):
        origin.note("listed", f"answers such as {describe(matching)} are read as they are, with their brackets")
    marks = [as_mark(matching), as_mark(contrast)]
    named = [_letter_named(text, question) for text in (matching, contrast)]
    shown = all(mark and re.search(rf"^\W*{re.escape(mark)}\b(?:\W|$)", question, re.MULTILINE) for mark in marks)
    if shown or (all(named) and named[0] != named[1]):
        raise CompareError(
            f"{origin.where}: fields '{names.matching}' and '{names.contrast}' name choices of its question by "
            f"{describe(matching)} and {describe(contrast)}: write these as (A), (B), … there and here."
        )
    letter = origin.letter(record, question, "AB", matching)
    texts = (matching, contrast) if letter == "A" else (contrast, matching)
    made = f"{question}\n\nChoices:\n (A) {texts[0]}\n (B) {texts[1]}"
    layout = None if find_layout(question) else find_layout(made)
    if layout is None or tuple(choice.text for choice in layout.choices(made)) != texts:
        raise CompareError(
            f"{origin.where}: has lettered choices already, or lines that look like some: leave (A), (B), … out, or "
            f"give letters in '{names.matching}' and '{names.contrast}'."
        )
    return _item(origin, made, (letter, "AB".replace(letter, "")), record, own_letters=False)


def _letter_named(answer: str, question: str) -> str | None:
    """The one letter of a question's choices that stands in an answer as a word, as in "B is right"; None of others."""
    layout = find_layout(lettered_form(question) or "")
    found = {*re.findall(r"\b[A-Z]\b", answer)} & {*(layout.spans if layout else ())}
    return found.pop() if len(found) == 1 else None


def _unmarked(texts: list[str], origin: Origin) -> list[str]:
    """The texts without the letters before them, where these are A, B, C, …: they get letters by their place."""
    parts = [split_mark(text) or ("", text) for text in texts]
    bare = [rest.strip() for _, rest in parts]
    if not all(bare) or [letter for letter, _ in parts] != [*LETTERS[: len(texts)]]:
        return texts
    origin.note("marks", f"letters before answers, as in {describe(texts[0])}, are left out")
    return bare


def _claim(record: Record, origin: Origin) -> Item:
    """A claim as an item: whether "True" or "False" stands first is drawn."""
    statement = text_field(record, STATEMENT, origin.where).strip()
    truth = TRUTHS.get((optional_field(record, "label", origin.where) or "").strip().lower())
    if truth is None:
        raise CompareError(
            f"{origin.where}: field 'label' must be true or false (1 or 0), not {describe(record.get('label'))}."
        )
    record = {**record, "label": str(truth).lower()}
    letter = origin.letter(record, statement, "AB", str(truth))
    choices = (truth, not truth) if letter == "A" else (not truth, truth)
    question = f"{CLAIM}\n\n{statement}\n\nChoices:\n (A) {choices[0]}\n (B) {choices[1]}"
    return _item(origin, question, (letter, "AB".replace(letter, "")), record)


def _item(origin: Origin, question: str, letters: tuple[str, str], record: Record, own_letters: bool = True) -> Item:
    """The item of a question and its matching and contrast letter, with the record's tags."""
    template, label, category = (optional_field(record, name, origin.where) for name in TAGS)
    matching, contrast = letters
    return Item.parse(
        *(origin.id, question, matching, contrast),
        template=template,
        label=label,
        category=category,
        own_letters=own_letters,
    )


def _many(record: Record, origin: Origin) -> Item:
    """A question as an item whose contrast is all letters but the right one.

    It has `question`, the list `choices`, `answer` (the right one's index from 0, or its letter) and maybe `subject`,
    as in MMLU; or lettered choices in `question` and the right letter in `answer_matching_behavior`.
    """
    where, question = origin.where, text_field(record, BEHAVIOR.question, origin.where)
    record = _one(_one(record, ANSWER, origin), BEHAVIOR.matching, origin)
    if CHOICES in record:
        texts = _unmarked(_texts(record, where), origin)
        letters, right = LETTERS[: len(texts)], _answer(record, len(texts), where)
        lines = "\n".join(f"({letter}) {text}" for letter, text in zip(letters, texts, strict=True))
        # The form in which the paper asks MMLU, with all choices in place of two.
        question = f"{question.strip()}\n\nChoices:\n{lines}"
    else:
        question = lettered_form(question) or question
        layout, right = find_layout(question), letter_field(record, BEHAVIOR.matching, where)
        letters = "".join(layout.spans) if layout else ""
        if right not in letters:
            named = ", ".join(letters) or "not to be found in its question"
            raise CompareError(f"{where}: field '{BEHAVIOR.matching}' is ({right}), but the choices are {named}.")
    category = optional_field(record, "category", where) or optional_field(record, SUBJECT, where)
    return _item(origin, question, (right, letters.replace(right, "")), {**record, "category": category})


def _texts(record: Record, where: str) -> list[str]:
    values = record[CHOICES]
    if not isinstance(values, list) or not 2 <= len(values) <= len(LETTERS):
        given = f"{len(values)}" if isinstance(values, list) else describe(values)
        raise CompareError(f"{where}: field '{CHOICES}' must be a list of 2 to {len(LETTERS)} texts, not {given}.")
    return [
        check_text(str(v) if isinstance(v, (int, float)) else v, f"{where}: field '{CHOICES}'").strip() for v in values
    ]


def _answer(record: Record, count: int, where: str) -> str:
    value = record.get(ANSWER)
    letters = LETTERS[:count]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return letters[value]
    letter = as_letter(value) if isinstance(value, str) else None
    if letter is None or letter not in letters:
        raise CompareError(
            f"{where}: field '{ANSWER}' must be an index from 0 to {count - 1} or a letter up to {letters[-1]}, "
            f"not {describe(value)}."
        )
    return letter
