"""Items in other forms: questions with two answers, claims that are true or false, and MMLU's, of several choices."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons.dataset.fields import (
    Record,
    as_letter,
    check_text,
    describe,
    field_names,
    letter_field,
    optional_field,
    text_field,
)
from comparisons.dataset.items import Item, find_layout
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Fields:
    """What a file calls the question, the matching letter and the contrast letter."""

    question: str
    matching: str
    contrast: str


BEHAVIOR = Fields("question", "answer_matching_behavior", "answer_not_matching_behavior")
KNOWLEDGE = Fields("prompt", "correct", "incorrect")
ANSWERS = Fields("question", "matching", "contrast")
"""Of an item without letters: its two answers are texts."""
STATEMENT, CLAIM = "statement", "Is this statement true or false?"
CHOICES, ANSWER, SUBJECT = "choices", "answer", "subject"
"""Of a knowledge question with one right choice among several, none of which is *the* contrast."""
LETTERS_MADE = "letters made"
"""In a record: its letters are not its own."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(record: Record, where: str, number: int, answers: Fields | None) -> Record:
    """The record with lettered choices, where it is a claim or a question with two answers."""
    if answers is not None:
        return _answered(record, where, number, answers)
    if BEHAVIOR.matching in record and BEHAVIOR.contrast in record:
        return _evaluation(record, where, number)
    if STATEMENT in record and BEHAVIOR.question not in record:
        return _claim(record, where, number)
    if BEHAVIOR.matching not in record and {ANSWERS.matching, ANSWERS.contrast} & record.keys():
        return _answered(record, where, number, ANSWERS)
    if BEHAVIOR.question in record and BEHAVIOR.matching not in record:
        text_field(record, BEHAVIOR.question, where)
        raise CompareError(
            f"{where}: field '{BEHAVIOR.matching}' is missing, or '{ANSWERS.matching}' and '{ANSWERS.contrast}' of "
            "answers without letters, which `compare data split` also takes by --columns; there are: "
            f"{field_names(record)}."
        )
    return record


def _evaluation(record: Record, where: str, number: int) -> Record:
    """An item in a form of Anthropic's evaluations: a list of contrast letters, or two answers without letters.

    Of several contrast letters each is taken in turn. Those sets alternate "Yes" and "No", so that pairs of items
    share the place of the matching answer: neither a letter nor an answer means more of the behavior.
    """
    listed = record[BEHAVIOR.contrast]
    if isinstance(listed, list):
        if not listed:
            raise CompareError(f"{where}: field '{BEHAVIOR.contrast}' is an empty list: it needs a letter.")
        every = [letter_field({BEHAVIOR.contrast: each}, BEHAVIOR.contrast, where) for each in listed]
        if letter_field(record, BEHAVIOR.matching, where) in every:
            raise CompareError(f"{where}: field '{BEHAVIOR.contrast}' lists the matching letter too.")
        return {**record, BEHAVIOR.contrast: every[(number - 1) % len(every)]}
    answers = [text_field(record, name, where) for name in (BEHAVIOR.matching, BEHAVIOR.contrast)]
    if any(as_letter(text) for text in answers) or find_layout(text_field(record, BEHAVIOR.question, where)):
        return record
    return _answered(record, where, (number + 1) // 2, BEHAVIOR)


def _answered(record: Record, where: str, number: int, fields: Fields) -> Record:
    """A question with two answers as an item: the matching one stands first in every second one."""
    question, matching, contrast = (
        text_field(record, name, where).strip() for name in (fields.question, fields.matching, fields.contrast)
    )
    if matching == contrast:
        raise CompareError(f"{where}: fields '{fields.matching}' and '{fields.contrast}' hold the same answer.")
    texts = (matching, contrast) if number % 2 else (contrast, matching)
    made = f"{question}\n\nChoices:\n (A) {texts[0]}\n (B) {texts[1]}"
    layout = None if find_layout(question) else find_layout(made)
    if layout is None or tuple(choice.text for choice in layout.choices(made)) != texts:
        raise CompareError(
            f"{where}: has lettered choices already, or lines that look like some: leave (A), (B), … out, or give "
            f"letters in '{BEHAVIOR.matching}' and '{BEHAVIOR.contrast}'."
        )
    return {**record, **_answer_key(made, texts.index(matching)), LETTERS_MADE: True}


def _answer_key(question: str, right: int) -> Record:
    """The fields of a question with the choices (A) and (B)."""
    return {BEHAVIOR.question: question, BEHAVIOR.matching: "AB"[right], BEHAVIOR.contrast: "AB"[1 - right]}


def _claim(record: Record, where: str, number: int) -> Record:
    """A claim as an item: "True" stands first in every second one, so that no letter means truth."""
    statement, label = text_field(record, STATEMENT, where).strip(), optional_field(record, "label", where)
    truth = {"1": True, "true": True, "0": False, "false": False}.get((label or "").strip().lower())
    if truth is None:
        raise CompareError(
            f"{where}: field 'label' must be true or false (1 or 0), not {describe(record.get('label'))}."
        )
    choices = ("True", "False") if number % 2 else ("False", "True")
    question = f"{CLAIM}\n\n{statement}\n\nChoices:\n (A) {choices[0]}\n (B) {choices[1]}"
    return {**record, **_answer_key(question, choices.index(str(truth))), "label": str(truth).lower()}


def is_many(record: Record) -> bool:
    """Whether a knowledge question lists its choices, or names a matching letter and no contrast."""
    return CHOICES in record or (BEHAVIOR.matching in record and BEHAVIOR.contrast not in record)


def parse_many(record: Record, where: str, id: str) -> Item:
    """Reads one question as an item whose contrast is all letters but the right one.

    Args:
        record: with `question`, the list `choices`, `answer` (the right one's index from 0, or its letter) and maybe
            `subject`, as in MMLU; or with lettered choices in `question` and the right letter in
            `answer_matching_behavior`.
        where: begins messages.
        id: the item's.

    Raises:
        CompareError: a field is missing or wrong.
    """
    question = text_field(record, BEHAVIOR.question, where)
    if CHOICES in record:
        texts = _texts(record, where)
        letters, right = LETTERS[: len(texts)], _answer(record, len(texts), where)
        lines = "\n".join(f"({letter}) {text}" for letter, text in zip(letters, texts, strict=True))
        # The form in which the paper asks MMLU, with all choices in place of two.
        question = f"{question.strip()}\n\nChoices:\n{lines}"
    else:
        layout, right = find_layout(question), letter_field(record, BEHAVIOR.matching, where)
        letters = "".join(layout.spans) if layout else ""
        if right not in letters:
            named = ", ".join(letters) or "not to be found in its question"
            raise CompareError(f"{where}: field '{BEHAVIOR.matching}' is ({right}), but the choices are {named}.")
    category = optional_field(record, "category", where) or optional_field(record, SUBJECT, where)
    template, label = (optional_field(record, name, where) for name in ("template", "label"))
    return Item.parse(
        id, question, right, letters.replace(right, ""), template=template, label=label, category=category
    )


def _texts(record: Record, where: str) -> list[str]:
    values = record[CHOICES]
    if not isinstance(values, list) or not 2 <= len(values) <= len(LETTERS):
        given = f"{len(values)}" if isinstance(values, list) else describe(values)
        raise CompareError(f"{where}: field '{CHOICES}' must be a list of 2 to {len(LETTERS)} texts, not {given}.")
    return [
        check_text(str(v) if isinstance(v, (int, float)) else v, f"{where}: field '{CHOICES}'").strip() for v in values
    ]


def _answer(record: Record, count: int, where: str) -> str:
    """The right letter of a question with so many choices."""
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
