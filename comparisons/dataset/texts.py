"""A behavior in words: description, system prompts, rubric, signs; from behavior.json or the project's own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparisons.dataset.fields import check_text, describe
from comparisons.dataset.reading import read_text
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import load_json

HIGHEST = 10.0
"""The highest score of a free answer."""

_FIELDS = (*DIRECTIONS, "plain")
_PLAIN = ("score", "weight")


@dataclass(frozen=True)
class Signs:
    """Wordings by which a free answer shows a behavior or its opposite.

    Attributes:
        sides: direction -> regular expressions; they match whole words, whatever their case.
        plain: the score, 0 to 10, of wording without signs; None where that shows nothing.
        weight: how many signs 100 words of such wording count as; with 0 `plain` is for an answer without any sign.
    """

    sides: Mapping[str, tuple[str, ...]]
    plain: float | None = None
    weight: float = 0.0

    def pattern(self, side: str) -> re.Pattern[str]:
        """One expression for all signs of a side; the earlier ones win where two begin at one place."""
        return re.compile(rf"(?<!\w)(?:{'|'.join(self.sides[side])})(?!\w)", re.IGNORECASE)


def read_signs(value: object, where: str) -> Signs:
    """Signs from what a file says.

    Args:
        value: {"pos": [expression, …], "neg": [expression, …]} and perhaps "plain": {"score": 0, "weight": 2}.

    Raises:
        CompareError: names the field and, of an expression that is none, the expression.
    """
    if not isinstance(value, dict):
        raise CompareError(f"{where} must be an object, not {describe(value)}.")
    for key in value:
        if key not in _FIELDS:
            raise CompareError(f"{where}: {unknown('field', key, _FIELDS)}")
    sides: dict[str, tuple[str, ...]] = {
        side: _expressions(value.get(side), f"{where}, '{side}'") for side in DIRECTIONS
    }
    plain = value.get("plain")
    if plain is None:
        return Signs(sides)
    if not isinstance(plain, dict) or "score" not in plain or not set(plain) <= set(_PLAIN):
        raise CompareError(f"{where}, 'plain' must be an object with the field score and perhaps weight.")
    score = _number(plain["score"], HIGHEST, f"{where}, 'plain', 'score'")
    return Signs(sides, score, _number(plain.get("weight", 0), math.inf, f"{where}, 'plain', 'weight'"))


def _expressions(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise CompareError(f"{where} must be a list of at least one expression, not {describe(value)}.")
    for each in value:
        text = check_text(each, where)
        try:
            found = re.compile(text).match("")
        except re.error as error:
            raise CompareError(f"{where}: {describe(text)} is no regular expression: {error}.") from error
        if found:
            raise CompareError(f"{where}: {describe(text)} matches where nothing stands.")
    return tuple(value)


def _number(value: object, most: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most or value == math.inf:
        end = "at least 0" if most == math.inf else f"from 0 to {most:g}"
        raise CompareError(f"{where} must be a number {end}, not {describe(value)}.")
    return float(value)


TEXTS_FILE = "behavior.json"
_KEYS = ("description", "system_prompts", "paraphrases", "neutral", "rubric", "rubrics", "truth", "signs")


@dataclass(frozen=True)
class Texts:
    """The texts of a behavior; each None or empty where there is none.

    Attributes:
        prompts: direction -> system prompt.
        paraphrases: direction -> other wordings of that system prompt.
        rubric: what a judge goes by, 0 to 10.
        rubrics: name -> a further rubric, by which answers have a score of their own.
    """

    description: str | None = None
    prompts: Mapping[str, str] | None = None
    paraphrases: Mapping[str, tuple[str, ...]] | None = None
    neutral: tuple[str, ...] = ()
    rubric: str | None = None
    rubrics: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, Any] | None = None
    signs: Signs | None = None


def read_texts(path: Path, behavior: str) -> Texts:
    """The texts in a behavior.json, each that it lacks (or all, without the file) from the project's own.

    The project has its own for the behaviors of the paper.

    Raises:
        CompareError: names the file and the field.
    """
    known = json.loads(Path(__file__).with_name("known_behaviors.json").read_text(encoding="utf-8"))
    default: dict[str, Any] = known.get(behavior, {})
    given: Mapping[str, Any] = {}
    if path.exists():
        loaded = load_json(read_text(path), str(path))
        if not isinstance(loaded, dict):
            raise CompareError(f"{path}: must hold an object, not {describe(loaded)}.")
        given = loaded
    if given.get("system_prompts") is not None:
        # Ours reword our prompts, not those of the file.
        default = {key: value for key, value in default.items() if key != "paraphrases"}
    return _texts({**default, **{key: value for key, value in given.items() if value is not None}}, path)


def _texts(values: Mapping[str, Any], path: Path) -> Texts:
    for key in values:
        if key not in _KEYS:
            raise CompareError(f"{path}: {unknown('field', key, _KEYS)}")
    parts: dict[str, Any] = {}
    for key in ("description", "rubric"):
        if key in values:
            parts[key] = check_text(values[key], f"{path}: field '{key}'")
    if "system_prompts" in values:
        where = f"{path}: field 'system_prompts'"
        sides = _sides(values["system_prompts"], where)
        parts["prompts"] = {side: check_text(text, f"{where}, '{side}'") for side, text in sides.items()}
    if "paraphrases" in values:
        where = f"{path}: field 'paraphrases'"
        sides = _sides(values["paraphrases"], where)
        parts["paraphrases"] = {side: _lines(texts, f"{where}, '{side}'") for side, texts in sides.items()}
    if "neutral" in values:
        parts["neutral"] = _lines(values["neutral"], f"{path}: field 'neutral'")
    if "rubrics" in values:
        parts["rubrics"] = _rubrics(values["rubrics"], f"{path}: field 'rubrics'")
    if "truth" in values:
        parts["truth"] = _truth(values["truth"], f"{path}: field 'truth'")
    if "signs" in values:
        parts["signs"] = read_signs(values["signs"], f"{path}: field 'signs'")
    return Texts(**parts)


def _sides(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or set(value) != set(DIRECTIONS):
        raise CompareError(f"{where} must be an object with the fields pos and neg, and no others.")
    return {side: value[side] for side in DIRECTIONS}


def _lines(value: object, where: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    return tuple(check_text(text, where) for text in texts)


def _rubrics(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(re.fullmatch(r"[\w -]+", name) for name in value):
        raise CompareError(f"{where} must be an object of texts, each by a name of letters, digits, blanks, _ and -.")
    return {name: check_text(text, f"{where}, '{name}'") for name, text in value.items()}


def _truth(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CompareError(f"{where} must be an object, not {describe(value)}.")
    check_text(json.dumps(value, ensure_ascii=False), where)
    return value
