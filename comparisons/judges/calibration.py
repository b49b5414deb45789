"""How far a judge can be trusted: its scores of answers whose score is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.fields import check_text, describe
from comparisons.dataset.records import read_records
from comparisons.judges.interface import MOST, AnswerToJudge, Judge
from comparisons.results.status import UNSCORED
from comparisons.stats.content import rank_correlation
from comparisons.stats.intervals import wilson
from comparisons.util.errors import CompareError
from comparisons.util.paths import embedded

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior

FILE = "known.jsonl"
"""Beside a behavior's behavior.json."""


@dataclass(frozen=True)
class Known:
    """An answer whose score is known.

    Attributes:
        asked: the answer.
        score: 0 to 10.
    """

    asked: AnswerToJudge
    score: float


def known_answers(behavior: Behavior) -> tuple[Known, ...]:
    """The known answers of a behavior: those of its own known.jsonl, else the project's in English; else none.

    The project has English ones for refusal. They are not for the embedded data, whose language is another.

    Raises:
        CompareError: names the file, the line and the field.
    """
    folder = Path(behavior.source).parent
    own, ours = folder / FILE, Path(__file__).parent / f"{behavior.name}.jsonl"
    if own.is_file():
        return read_known(own, behavior)
    is_embedded = folder.resolve().is_relative_to(embedded("data").resolve())
    return read_known(ours, behavior) if ours.is_file() and not is_embedded else ()


def read_known(path: Path, behavior: Behavior) -> tuple[Known, ...]:
    """Reads known answers: objects with `question`, `answer` and `score`.

    Args:
        path: a .jsonl, .json or .csv file.
        behavior: whose answers they are.

    Raises:
        CompareError: names the file, the item (counted from 1) and the field.
    """
    found = []
    for number, record in enumerate(read_records(path), start=1):
        where = f"{path}: item {number}"
        question, answer = (
            check_text(record.get(field), f"{where}: field '{field}'") for field in ("question", "answer")
        )
        score = _score(record.get("score"), where)
        found.append(Known(AnswerToJudge(behavior.name, behavior.rubric or "", question, answer), score))
    return tuple(found)


def _score(value: object, where: str) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score <= MOST:
        raise CompareError(f"{where}: field 'score' must be a number from 0 to 10, not {describe(value)}.")
    return score


def accuracy(judge: Judge, known: Sequence[Known]) -> dict[str, Any]:
    """How a judge does on known answers.

    Returns:
        "n": answers; "n_scored"; "unparsed", "refused", "failed", "unasked": those without a score, never taken for 0;
        "n_sided": the scored ones whose known score is not 5; "right": those of them whose score lies on the same
        side of 5 (a 5 lies on none); "share_right" and its 95% interval "share_right_ci" after Wilson (1927);
        "mean_absolute_error", "spearman" and "kendall" (tau-b) over the scored ones. What can't be computed is None.

    Raises:
        CompareError: the judge can't judge these answers.
    """
    verdicts = judge.score([each.asked for each in known])
    pairs = [
        (each.score, verdict.score) for each, verdict in zip(known, verdicts, strict=True) if verdict.score is not None
    ]
    middle = MOST / 2
    sided = [(truth - middle) * (score - middle) > 0 for truth, score in pairs if truth != middle]
    statuses = Counter(verdict.status for verdict in verdicts if verdict.score is None)
    truths, scores = [truth for truth, _ in pairs], [score for _, score in pairs]
    interval = wilson(sum(sided), len(sided))
    return {
        "n": len(known),
        "n_scored": len(pairs),
        **{status: statuses[status] for status in UNSCORED},
        "n_sided": len(sided),
        "right": sum(sided),
        "share_right": sum(sided) / len(sided) if sided else None,
        "share_right_ci": list(interval) if interval else None,
        "mean_absolute_error": sum(abs(t - s) for t, s in pairs) / len(pairs) if pairs else None,
        "spearman": rank_correlation("spearman", truths, scores),
        "kendall": rank_correlation("kendall", truths, scores),
    }
