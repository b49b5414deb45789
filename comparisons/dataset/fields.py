"""Fields of a record that somebody wrote: read, or named by one clear line about what is wrong."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from comparisons.util.errors import CompareError

# Anthropic's evals write " (A)", the paper "(A)".
_LETTER = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z]))\s*")
# Others write "A)", "(a)", "a.", "A:", "**A.**", "<A>", "A -", "Option A", "The answer is (A)."
_LIKE_A_LETTER = re.compile(
    r"(?:(?:the |my )?(?:correct )?(?:answer|option|choice)(?: is)?[ :]*)?"
    r"[*_`'\"#]*[(\[{<]{0,2}[\s*_]*([a-z])[\s*_]*[)\]}>]{0,2}\s*[.:、,;/|–-]?[)\]]?[*_`'\"]*",
    re.IGNORECASE,
)
# What tells a choice and is no letter of ours: "1.", "(2)", "iii)", a letter of another alphabet.
_MARK = re.compile(r"\W*(\w|\d{1,2}|[ivx]{1,4})\W*", re.IGNORECASE)
_LONGEST_LETTER = 40
# What tables make of a list of messages.
_MESSAGES = re.compile(r"\s*\[\s*\{[^{}]*['\"]role['\"]\s*:")

Record = Mapping[str, object]


def check_text(value: object, where: str) -> str:
    """The value if it is non-blank text; otherwise a CompareError."""
    if not isinstance(value, str):
        raise CompareError(f"{where} must be text, not {describe(value)}.")
    if not value.strip():
        raise CompareError(f"{where} is empty.")
    if _MESSAGES.match(value):
        raise CompareError(f"{where} holds messages written as a text: give them as a list, in JSON lines or parquet.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CompareError(f"{where} holds half a surrogate pair: mend its \\u escapes.") from None
    return value


def describe(value: object) -> str:
    """A short word on a value, on one line."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}…"


def text_field(record: Record, field: str, where: str) -> str:
    """The field's non-blank text; a CompareError where it is missing or something else."""
    if field not in record:
        raise CompareError(f"{where}: field '{field}' is missing; there are: {field_names(record)}.")
    return check_text(record[field], f"{where}: field '{field}'")


def field_names(record: Record) -> str:
    """A record's first fields, for messages."""
    names = ", ".join(describe(name)[1:-1] for name in list(record)[:8])
    return names or "none"


def spoken(record: Record, fields: Iterable[str], note: Callable[[str, str], None]) -> Record:
    """The record with the last message's text in the place of lists of messages, each of one exchange at most."""
    found = {}
    for name in fields:
        messages = record.get(name)
        each = messages if isinstance(messages, list) else []
        texts = [one.get("content") for one in each if isinstance(one, dict)]
        roles = [one.get("role") for one in each if isinstance(one, dict)]
        if texts and len(texts) == len(each) and roles in (["user"], ["assistant"], ["user", "assistant"]):
            found[name] = texts[-1]
            note("messages", "of messages the last one's text is read")
    return {**record, **found}


def letter_field(record: Record, field: str, where: str) -> str:
    """The field's letter, bare; a CompareError where it is none."""
    text = text_field(record, field, where)
    letter = as_letter(text)
    if letter is None:
        raise CompareError(f"{where}: field '{field}' must be a letter such as (A), not {describe(text)}.")
    return letter


def as_letter(text: str) -> str | None:
    """The letter that a text is, bare and in upper case, whatever the usual marks around it; None where it is none."""
    text = unicodedata.normalize("NFKC", text).strip()  # letters and brackets of full width too
    match = _LIKE_A_LETTER.fullmatch(text) if len(text) <= _LONGEST_LETTER else None
    return None if match is None else match[1].upper()


def as_mark(text: str) -> str | None:
    """What an answer is that may stand for a choice as a letter does, "1" of "(1)"; None of a text."""
    match = _MARK.fullmatch(text)
    return None if match is None else match[1]


def is_usual(text: str) -> bool:
    """Whether a text is a letter as "(A)" or "A"."""
    return _LETTER.fullmatch(text) is not None


def optional_field(record: Record, field: str, where: str) -> str | None:
    """The field as text; None where it is absent, null, blank, or the NaN that tables write for nothing."""
    value = record.get(field)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (dict, list)):
        raise CompareError(f"{where}: field '{field}' must be text or a number, not {describe(value)}.")
    if isinstance(value, str):
        return check_text(value, f"{where}: field '{field}'") if value.strip() else None
    # JSON knows one kind of number: 1 and 1.0 are one label.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
