"""A behavior in words: description, system prompts, rubric; from behavior.json or the project's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparisons.dataset.fields import check_text, describe
from comparisons.dataset.reading import read_text
from comparisons.dataset.signs import Signs, read_signs
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import load_json

TEXTS_FILE = "behavior.json"
_KEYS = ("description", "system_prompts", "paraphrases", "neutral", "rubric", "rubrics", "truth", "signs")


@dataclass(frozen=True)
class Texts:
    """The texts of a behavior; each None or empty where there is none.

    Attributes:
        description: the behavior in a phrase.
        prompts: direction -> system prompt.
        paraphrases: direction -> other wordings of that system prompt.
        neutral: system prompts about nothing.
        rubric: what a judge goes by, 0 to 10.
        rubrics: name -> a further rubric, by which answers have a score of their own.
        truth: sentences of both sides, as the file tells them.
        signs: wordings that show either side in natural language.
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
    default = _known().get(behavior, {})
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


def _known() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = json.loads(
        Path(__file__).with_name("known_behaviors.json").read_text(encoding="utf-8")
    )
    return known


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
