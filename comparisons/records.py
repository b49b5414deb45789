"""Reading items from JSON, JSONL and CSV files, with one clear line about what is wrong in one."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from comparisons.errors import CompareError
from comparisons.items import Item, OpenPrompt, find_layout

SUFFIXES = (".json", ".jsonl", ".csv")
# Anthropic's evals write " (A)", the paper "(A)".
_LETTER = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z]))\s*")

Record = Mapping[str, object]


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


def read_items(path: Path, section: str, fields: Fields = BEHAVIOR, answers: Fields | None = None) -> tuple[Item, ...]:
    """Reads a file of multiple-choice items.

    Args:
        path: a .json file (a list of objects), a .jsonl or a .csv one.
        section: begins the items' ids.
        fields: the names of the fields; `template`, `label` and `category` are read too, others are not.
        answers: the names of the fields where every record is a question with two answers and no letters; by default
            those with fields as in `ANSWERS` are.

    A question with two answers gets letters, the matching answer "A" in every second one. A file of claims, whose
    records have a `statement` and a `label` and no question, is read as items that ask whether the claim is true; the
    truthful answer matches.

    Raises:
        CompareError: names the file, the item (counted from 1) and the field.
    """
    found = []
    for number, record in enumerate(read_records(path), start=1):
        where = f"{path}: item {number}"
        if fields is BEHAVIOR:
            record = _lettered(record, where, number, answers)
        found.append(parse_item(record, where, f"{section}/{number - 1}", fields))
    return tuple(found)


def _lettered(record: Record, where: str, number: int, answers: Fields | None) -> Record:
    """The record with lettered choices, where it is a claim or a question with two answers."""
    if answers is not None:
        return _answered(record, where, number, answers)
    if STATEMENT in record and BEHAVIOR.question not in record:
        return _claim(record, where, number)
    if BEHAVIOR.matching not in record and {ANSWERS.matching, ANSWERS.contrast} & record.keys():
        return _answered(record, where, number, ANSWERS)
    if BEHAVIOR.question in record and BEHAVIOR.matching not in record:
        _text(record, BEHAVIOR.question, where)
        raise CompareError(
            f"{where}: field '{BEHAVIOR.matching}' is missing, or '{ANSWERS.matching}' and '{ANSWERS.contrast}' of "
            f"answers without letters, which `compare data split` also takes by --columns; there are: {_names(record)}."
        )
    return record


def _answered(record: Record, where: str, number: int, fields: Fields) -> Record:
    """A question with two answers as an item: the matching one stands first in every second one."""
    question, matching, contrast = (
        _text(record, name, where).strip() for name in (fields.question, fields.matching, fields.contrast)
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
    right = texts.index(matching)
    return {
        **record,
        BEHAVIOR.question: made,
        BEHAVIOR.matching: "AB"[right],
        BEHAVIOR.contrast: "AB"[1 - right],
    }


def _claim(record: Record, where: str, number: int) -> Record:
    """A claim as an item: "True" stands first in every second one, so that no letter means truth."""
    statement, label = _text(record, STATEMENT, where).strip(), _optional(record, "label", where)
    truth = {"1": True, "true": True, "0": False, "false": False}.get((label or "").strip().lower())
    if truth is None:
        raise CompareError(
            f"{where}: field 'label' must be true or false (1 or 0), not {describe(record.get('label'))}."
        )
    choices = ("True", "False") if number % 2 else ("False", "True")
    right = choices.index(str(truth))
    return {
        **record,
        BEHAVIOR.question: f"{CLAIM}\n\n{statement}\n\nChoices:\n (A) {choices[0]}\n (B) {choices[1]}",
        BEHAVIOR.matching: "AB"[right],
        BEHAVIOR.contrast: "AB"[1 - right],
        "label": str(truth).lower(),
    }


def read_prompts(path: Path) -> tuple[OpenPrompt, ...]:
    """Reads a file of open-ended prompts: each item's fields `question` and `template`, if any."""
    found = []
    for number, record in enumerate(read_records(path), start=1):
        where = f"{path}: item {number}"
        text, template = _text(record, "question", where), _optional(record, "template", where)
        found.append(OpenPrompt(f"open/{number - 1}", text, template))
    return tuple(found)


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte order mark."""
    try:
        # No translation of line ends: a question stays exactly as in its file.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise CompareError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise CompareError(f"{path}: can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CompareError(f"{path}: is not UTF-8 (byte {error.start}): save it as UTF-8.") from error


def load_json(text: str, where: str) -> object:
    """Parses JSON; `where` begins the message of the CompareError about text that isn't."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CompareError(f"{where}: is not JSON, or is cut off ({place}: {error.msg}).") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise CompareError(f"{where}: is JSON that can't be read: {error}.") from error


def check_text(value: object, where: str) -> str:
    """The value if it is non-blank text; otherwise a CompareError."""
    if not isinstance(value, str):
        raise CompareError(f"{where} must be text, not {describe(value)}.")
    if not value.strip():
        raise CompareError(f"{where} is empty.")
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


def read_records(path: Path) -> list[Record]:
    """Reads the objects of a .json, .jsonl or .csv file, at least one.

    Raises:
        CompareError: names the file and the item.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise CompareError(f"{path}: unknown kind of file: use {', '.join(SUFFIXES)}.")
    text = read_text(path)
    values = {".json": _from_json, ".jsonl": _from_jsonl, ".csv": _from_csv}[kind](text, path)
    if not values:
        raise CompareError(f"{path}: holds no items: it needs at least one.")
    records: list[Record] = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise CompareError(f"{path}: item {number} must be an object with fields, not {describe(value)}.")
        records.append(value)
    return records


def _from_json(text: str, path: Path) -> list[object]:
    values = load_json(text, str(path))
    if not isinstance(values, list):
        raise CompareError(f"{path}: must hold a list of items, not {describe(values)}.")
    return values


def _from_jsonl(text: str, path: Path) -> list[object]:
    # Only "\n" ends a line: splitlines would also cut at U+2028 and others that JSON strings may hold.
    lines = [line for line in text.split("\n") if line.strip()]
    return [load_json(line, f"{path}: item {number}") for number, line in enumerate(lines, start=1)]


def _from_csv(text: str, path: Path) -> list[object]:
    rows: list[object] = []
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = list(reader.fieldnames or ())
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise CompareError(f"{path}: two columns have one name: {describe(twice[0])}.")
        for row in reader:
            if None in row:
                raise CompareError(f"{path}: item {len(rows) + 1} has more cells than the header has names.")
            rows.append({name: value for name, value in row.items() if value is not None})
    except csv.Error as error:
        raise CompareError(f"{path}: item {len(rows) + 1} is not CSV: {error}.") from error
    return rows


def parse_item(record: Record, where: str, id: str, fields: Fields = BEHAVIOR) -> Item:
    """Reads one item.

    Args:
        record: its fields.
        where: begins messages.
        id: the item's.
        fields: their names.

    Raises:
        CompareError: a field is missing or wrong.
    """
    item = Item.parse(
        id,
        _text(record, fields.question, where),
        _letter(record, fields.matching, where),
        _letter(record, fields.contrast, where),
        template=_optional(record, "template", where),
        label=_optional(record, "label", where),
        category=_optional(record, "category", where),
    )
    if item.matching == item.contrast:
        raise CompareError(
            f"{where}: fields '{fields.matching}' and '{fields.contrast}' are both ({item.matching}): "
            "they must name different choices."
        )
    letters = [choice.letter for choice in item.choices]
    for field, letter in ((fields.matching, item.matching), (fields.contrast, item.contrast)):
        if letters and letter not in letters:
            known = ", ".join(letters)
            raise CompareError(f"{where}: field '{field}' is ({letter}), but the choices are {known}.")
    return item


def _text(record: Record, field: str, where: str) -> str:
    if field not in record:
        raise CompareError(f"{where}: field '{field}' is missing; there are: {_names(record)}.")
    return check_text(record[field], f"{where}: field '{field}'")


def _names(record: Record) -> str:
    names = ", ".join(describe(name)[1:-1] for name in list(record)[:8])
    return names or "none"


def _letter(record: Record, field: str, where: str) -> str:
    text = _text(record, field, where)
    match = _LETTER.fullmatch(text)
    if match is None:
        raise CompareError(f"{where}: field '{field}' must be a letter such as (A), not {describe(text)}.")
    return match[1] or match[2]


def _optional(record: Record, field: str, where: str) -> str | None:
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
