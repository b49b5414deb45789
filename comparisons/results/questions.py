"""The questions of a run in words: questions.json, for a report that shows them beside what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from comparisons.results.schema import STRICT
from comparisons.util.errors import CompareError
from comparisons.util.files import read_sealed

QUESTIONS = "questions.json"


@with_config(STRICT)
class QuestionText(TypedDict):
    """A question as its file has it.

    Attributes:
        question: without its choices.
        matching, contrast: the texts of its choices; their letters where it has no texts.
        topic: its template, or the subject of a knowledge question.
        label: what the data says of it.
    """

    question: str
    matching: str
    contrast: str
    topic: str | None
    label: str | None


Questions = dict[str, dict[str, QuestionText]]
"""By behavior, and for the knowledge questions by "", those that were asked, by their items' ids."""

_QUESTIONS = TypeAdapter(Questions)


def read_questions(run: Path) -> Questions:
    """A run's questions; none of a run that was written before they were kept.

    Raises:
        CompareError: the file is broken.
    """
    path = run / QUESTIONS
    if not path.exists():
        return {}
    value: Any = read_sealed(path, "run")
    try:
        return _QUESTIONS.validate_python(value.get("questions") if isinstance(value, dict) else None)
    except ValidationError as error:
        raise CompareError(f"{path} holds no questions as this program writes them: run its command again.") from error
