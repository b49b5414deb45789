"""How far judges can be trusted: their scores of answers whose score is known, and whether they agree on others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.fields import check_text, describe
from comparisons.dataset.records import read_records
from comparisons.judges.interface import MOST, AnswerToJudge, Judge, Verdict
from comparisons.results.answers import UNSCORED
from comparisons.stats.content import rank_correlation
from comparisons.stats.intervals import wilson
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior

FILE = "known.jsonl"
"""Beside a behavior's behavior.json."""

Scores = Sequence[float | None]
"""One judge's scores, None where it gave none."""


@dataclass(frozen=True)
class CalibrationItem:
    """An answer whose score, 0 to 10, is known."""

    answer: AnswerToJudge
    score: float


@dataclass(frozen=True)
class Agreement:
    """Of two judges, or of all; what can't be computed is None.

    Attributes:
        judges: their names.
        n: answers that both of them scored, of all judges those that at least two did.
        left_out: the other answers.
        alpha: Krippendorff's, for interval data (Krippendorff 2019, Content Analysis, chapter 12): 1 for the same
            scores, 0 for what chance brings, below that for worse. It falls where one judge scores higher throughout.
        spearman: of two judges: whether they order answers alike, whatever their levels.
        kendall: likewise, tau-b.
    """

    judges: tuple[str, ...]
    n: int
    left_out: int
    alpha: float | None
    spearman: float | None = None
    kendall: float | None = None


def calibration_items(behavior: Behavior) -> tuple[CalibrationItem, ...]:
    """The known answers of a behavior: those of its own known.jsonl, else the project's in English; else none.

    The project has English ones for refusal. They are not for the embedded data, whose language is another.

    Raises:
        CompareError: names the file, the line and the field.
    """
    folder = Path(behavior.source).parent
    given, default = folder / FILE, Path(__file__).parent / f"{behavior.name}.jsonl"
    if given.is_file():
        return read_calibration(given, behavior)
    is_embedded = folder.resolve().is_relative_to(embedded("data").resolve())
    return read_calibration(default, behavior) if default.is_file() and not is_embedded else ()


def read_calibration(path: Path, behavior: Behavior) -> tuple[CalibrationItem, ...]:
    """Reads known answers: objects with `question`, `answer` and `score`.

    Args:
        path: a file of records, such as a .jsonl one.
        behavior: whose answers they are.

    Raises:
        CompareError: names the file, the item (counted from 1) and the field.
    """
    items = []
    for number, record in enumerate(read_records(path), start=1):
        where = f"{path}: item {number}"
        question, answer = (
            check_text(record.get(field), f"{where}: field '{field}'") for field in ("question", "answer")
        )
        score = _score(record.get("score"), where)
        items.append(CalibrationItem(AnswerToJudge(behavior.name, behavior.rubric or "", question, answer), score))
    return tuple(items)


def _score(value: object, where: str) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score <= MOST:
        raise CompareError(f"{where}: field 'score' must be a number from 0 to 10, not {describe(value)}.")
    return score


def accuracy(judge: Judge, items: Sequence[CalibrationItem]) -> dict[str, Any]:
    """How a judge does on known answers; see `accuracy_of`.

    Raises:
        CompareError: the judge can't judge these answers.
    """
    return accuracy_of(items, judge.score([item.answer for item in items]))


def accuracy_of(items: Sequence[CalibrationItem], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How a judge's verdicts on known answers are.

    Returns:
        "n": answers; "n_scored"; "no_sign", "unparsed", "refused", "failed", "unasked": those without a score, never
        taken for 0;
        "n_sided": the scored ones whose known score is not 5; "right": those of them whose score lies on the same
        side of 5 (a 5 lies on none); "share_right" and its 95% interval "share_right_ci" after Wilson (1927);
        "mean_absolute_error", "spearman" and "kendall" (tau-b) over the scored ones. What can't be computed is None.
    """
    scored = zip(items, verdicts, strict=True)
    pairs = [(item.score, verdict.score) for item, verdict in scored if verdict.score is not None]
    middle = MOST / 2
    sided = [(truth - middle) * (score - middle) > 0 for truth, score in pairs if truth != middle]
    statuses = Counter(verdict.status for verdict in verdicts if verdict.score is None)
    truths, scores = [truth for truth, _ in pairs], [score for _, score in pairs]
    interval = wilson(sum(sided), len(sided))
    return {
        "n": len(items),
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


def joint_accuracy(runs: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """How judges do on the known answers of several runs: judge -> as `JudgeSet.calibration` has it.

    Where no run had all behaviors, ranks over all of them are None: each run keeps its own.
    """
    joint = {}
    for judge in dict.fromkeys(judge for run in runs for judge in run):
        parts = [run[judge] for run in runs if judge in run]
        behaviors = {name: one for part in parts for name, one in (part.get("behaviors") or {}).items()}
        whole = next((part for part in parts if (part.get("behaviors") or {}).keys() == behaviors.keys()), None)
        joint[judge] = {**(whole or _summed(list(behaviors.values()))), "behaviors": behaviors}
    return joint


def _summed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy over answers of which some are in each part."""
    counts = {key: sum(part[key] for part in parts) for key in ("n", "n_scored", *UNSCORED, "n_sided", "right")}
    sided, scored = counts["n_sided"], counts["n_scored"]
    interval = wilson(counts["right"], sided)
    errors = sum((part["mean_absolute_error"] or 0) * part["n_scored"] for part in parts)
    return {
        **counts,
        "share_right": counts["right"] / sided if sided else None,
        "share_right_ci": list(interval) if interval else None,
        "mean_absolute_error": errors / scored if scored else None,
        "spearman": None,
        "kendall": None,
    }


def agreement(scores: Mapping[str, Scores]) -> list[Agreement]:
    """Every pair of judges, in the order given, then all together where they are three or more.

    Args:
        scores: judge -> [answers], of the same answers in the same order.

    Raises:
        ValueError: judges were given different numbers of answers.
    """
    if len({len(given) for given in scores.values()}) > 1:
        raise ValueError("the judges' scores are of different numbers of answers")
    groups: list[tuple[str, ...]] = list(combinations(scores, 2))
    if len(scores) > 2:
        groups.append(tuple(scores))
    return [_agreement(group, [scores[judge] for judge in group]) for group in groups]


def _agreement(judges: tuple[str, ...], scores: Sequence[Scores]) -> Agreement:
    answers = [answer for answer in zip(*scores, strict=True) if sum(score is not None for score in answer) > 1]
    left_out = len(scores[0]) - len(answers)
    if not answers:
        return Agreement(judges, 0, left_out, None)
    # Alpha is made for answers that some didn't score.
    rated = [[math.nan if score is None else score for score in given] for given in zip(*answers, strict=True)]
    if len(judges) > 2:
        return Agreement(judges, len(answers), left_out, _alpha(rated))
    spearman, kendall = rank_correlation("spearman", *rated), rank_correlation("kendall", *rated)
    return Agreement(judges, len(answers), left_out, _alpha(rated), spearman, kendall)


def _alpha(rated: Sequence[Sequence[float]]) -> float | None:
    """Of [judges][answers]; there is none where nothing varies."""
    import krippendorff

    if len({score for given in rated for score in given if not math.isnan(score)}) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=rated, level_of_measurement="interval"))
