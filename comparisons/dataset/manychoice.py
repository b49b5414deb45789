"""Knowledge questions with one right choice among several, none of which is *the* contrast: MMLU's own form."""

from __future__ import annotations

from comparisons.dataset.fields import Record, as_letter, check_text, describe, letter_field, optional_field, text_field
from comparisons.dataset.items import Item, find_layout
from comparisons.dataset.lettering import BEHAVIOR
from comparisons.util.errors import CompareError

CHOICES, ANSWER, SUBJECT = "choices", "answer", "subject"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
            known = ", ".join(letters) or "not to be found in its question"
            raise CompareError(f"{where}: field '{BEHAVIOR.matching}' is ({right}), but the choices are {known}.")
    category = optional_field(record, "category", where) or optional_field(record, SUBJECT, where)
    template, label = (optional_field(record, name, where) for name in ("template", "label"))
    return Item.parse(
        id, question, right, letters.replace(right, ""), template=template, label=label, category=category
    )


def _texts(record: Record, where: str) -> list[str]:
    values = record[CHOICES]
    if not isinstance(values, list) or not 2 <= len(values) <= len(LETTERS):
        found = f"{len(values)}" if isinstance(values, list) else describe(values)
        raise CompareError(f"{where}: field '{CHOICES}' must be a list of 2 to {len(LETTERS)} texts, not {found}.")
    return [
        check_text(str(v) if isinstance(v, (int, float)) else v, f"{where}: field '{CHOICES}'").strip() for v in values
    ]


def _answer(record: Record, count: int, where: str) -> str:
    """The right letter of a question with so many choices."""
    value = record.get(ANSWER)
    known = LETTERS[:count]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return known[value]
    letter = as_letter(value) if isinstance(value, str) else None
    if letter is None or letter not in known:
        raise CompareError(
            f"{where}: field '{ANSWER}' must be an index from 0 to {count - 1} or a letter up to {known[-1]}, "
            f"not {describe(value)}."
        )
    return letter
