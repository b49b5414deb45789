"""The numbers of free answers: what they are like, how judges scored them, and both against the unchanged model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparisons import stats
from comparisons.evaluation.measures import Row, clusters, enough, interval
from comparisons.judges.coherence import combined, repeated
from comparisons.judges.interface import Verdict
from comparisons.judges.judge_set import COHERENCE, is_finished
from comparisons.judges.pairwise import NAME as PAIRWISE
from comparisons.judges.pairwise import win_rate
from comparisons.results.answers import UNSCORED, is_further

Numbers = Mapping[str, float | None]
"""By prompt."""

OPEN_ENDED = "open_ended"
"""The evaluation's name in result rows."""

THOUGHT = "thought_tokens"
"""In rows: of an answer's thought; in the summary their mean."""

GRAM = 4
"""Words of the runs whose repetition is counted."""


def repetition(text: str) -> float:
    """The share of an answer's runs of four words that stood in it before, 0 to 1.

    It is seq-rep-4 of Welleck et al. 2020, "Neural text generation with unlikelihood training", section 6; 0 for
    fewer than four words.
    """
    return repeated(text.split(), GRAM)


def open_numbers(
    rows: Sequence[Row],
    baseline: Sequence[Row] | None,
    shift: float | None,
    spent: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> dict[str, Any] | None:
    """What a cell's free answers are like and how they were judged; None where it wrote none.

    Args:
        rows: the cell's result rows of every evaluation.
        baseline: the baseline's; None for the baseline itself, which has no change.
        shift: the cell's shift on the choices, where it means something.
        spent: judge -> {"tokens_in", "tokens_out", "dollars"}.
        seed: of the intervals.

    Returns:
        "n_answers"; "length": mean words; "repetition": mean share of repeated runs of four words; "fluency": mean
        log-likelihood a token under the unchanged model, in nats, of answers that aren't empty; "length_change",
        "repetition_change", "fluency_change": against the baseline, paired by prompt, each with its interval under
        "…_ci"; where the model was to think, the same of "thought_tokens", its mean number, and "unfinished": how many
        thoughts came to no end, whose answers, being none, count nowhere else; "judges": judge -> {"n_scored",
        "no_sign", "unparsed", "refused", "failed", "unasked": counts; "score",
        "score_ci": 0 to 10, over the scored ones; "shift", "shift_ci": against the baseline, paired, where both have
        scores; "agrees": whether it has the sign of the shift on the choices; "wins": of a judge that compares {"rate",
        "ci", "won", "tied", "lost"}; of a judge that rates coherence "n_rated", its mean "coherence" and, of a cell
        with a direction, over "n_combined" answers the mean "combined" of `comparisons.judges.coherence`, with "…_ci",
        "…_change" and "…_change_ci" as above; and what was spent}. None for what has no number.
    """
    mine, before = _answers(rows), _answers(baseline or ())
    if not mine:
        return None
    found: dict[str, Any] = {"n_answers": len(mine)}
    for name, measure in _MEASURES.items():
        if name == THOUGHT and not any(THOUGHT in row for row in mine.values()):
            continue
        values, plain = ({item: measure(row) for item, row in side.items()} for side in (mine, before))
        mean, _, change, change_ci = _compared(values, plain, mine, seed)
        found |= {name: mean, f"{name}_change": change, f"{name}_change_ci": change_ci}
    if THOUGHT in found:
        found["unfinished"] = sum(not is_finished(row) for row in mine.values())
    found["judges"] = {}
    for judge in dict.fromkeys(judge for row in mine.values() for judge in row["scores"]):
        own = None if is_further(judge) else shift
        found["judges"][judge] = _judged(judge, mine, before, own, seed) | dict(spent.get(judge) or {})
        if judge.partition(":")[0] == PAIRWISE and baseline is not None:
            found["judges"][judge]["wins"] = _wins(judge, list(mine.values()), seed)
    return found


@dataclass(frozen=True)
class Mean:
    """A mean over prompts, and its one-sided 95% lower bound; None where there is none."""

    value: float
    low: float | None


def mean_of(values: Numbers, templates: Mapping[str, str | None], seed: int) -> Mean | None:
    """The mean of what has a value, by prompt; None where nothing has."""
    known = {item: value for item, value in values.items() if value is not None}
    if not known:
        return None
    numbers, groups = np.array(list(known.values()), dtype=float), clusters(list(known), templates)
    both = stats.bca_interval(numbers, clusters=groups, level=0.9, seed=seed) if enough(len(known), groups) else None
    return Mean(float(numbers.mean()), None if both is None else both.low)


def first_rating(rows: Iterable[Row]) -> str | None:
    """The first judge that rated the coherence of an answer; None where none did."""
    return next((judge for row in rows for judge in row.get(COHERENCE, {})), None)


def coherence_test(rows: Sequence[Row], limit: float, seed: int) -> dict[str, Any]:
    """Whether a cell's answers keep to a limit of their coherence, by the first judge that rated it.

    Returns:
        "judge", "limit", and "bound", the mean's one-sided 95% lower bound; {} where no judge rated it.
    """
    mine = _answers(rows)
    judge = first_rating(mine.values())
    if judge is None:
        return {}
    rated = {item: row[COHERENCE].get(judge) for item, row in mine.items()}
    mean = mean_of(rated, {item: row["template"] for item, row in mine.items()}, seed)
    return {"judge": judge, "limit": limit, "bound": mean and mean.low}


def row_numbers(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a summary row that say what free answers are like."""
    if found is None:
        return {"open_ended": None}
    rated = [judged["coherence"] for judged in found["judges"].values() if judged.get("coherence") is not None]
    return {"open_ended": found, "fluency": found["fluency"], "coherence": next(iter(rated), None)}


def _answers(rows: Sequence[Row]) -> dict[str, Row]:
    return {row["item"]: row for row in rows if row["evaluation"] == OPEN_ENDED}


_MEASURES: dict[str, Any] = {
    "length": lambda row: len(row["answer"].split()) if is_finished(row) else None,
    "repetition": lambda row: repetition(row["answer"]) if is_finished(row) else None,
    "fluency": lambda row: row["fluency"],
    THOUGHT: lambda row: row.get(THOUGHT),
}


def _judged(
    judge: str, mine: Mapping[str, Row], before: Mapping[str, Row], shift: float | None, seed: int
) -> dict[str, Any]:
    values, plain = ({item: row["scores"].get(judge) for item, row in side.items()} for side in (mine, before))
    statuses = [row["verdicts"][judge]["status"] for row in mine.values()]
    score, score_ci, change, change_ci = _compared(values, plain, mine, seed)
    return {
        "n_scored": sum(value is not None for value in values.values()),
        **{status: statuses.count(status) for status in UNSCORED},
        "score": score,
        "score_ci": score_ci,
        "shift": change,
        "shift_ci": change_ci,
        "agrees": None if not (change and shift) else (change > 0) == (shift > 0),
        **_coherent(judge, mine, before, seed),
    }


def _coherent(judge: str, mine: Mapping[str, Row], before: Mapping[str, Row], seed: int) -> dict[str, Any]:
    """How coherent a judge found the answers, and that joined with its score towards the cell's direction."""
    if not any(judge in row.get(COHERENCE, {}) for row in mine.values()):
        return {}
    rated, plain = ({item: row.get(COHERENCE, {}).get(judge) for item, row in side.items()} for side in (mine, before))
    found: dict[str, Any] = {"n_rated": sum(value is not None for value in rated.values())}
    found |= _with_change("coherence", rated, plain, mine, seed)
    if direction := next(iter(mine.values())).get("direction"):
        joined, joined_plain = (
            {item: combined(row["scores"].get(judge), values[item], direction) for item, row in side.items()}
            for side, values in ((mine, rated), (before, plain))
        )
        found["n_combined"] = sum(value is not None for value in joined.values())
        found |= _with_change("combined", joined, joined_plain, mine, seed)
    return found


def _wins(judge: str, rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """How often a cell's answer won over the baseline's."""
    found = win_rate([Verdict(row["scores"].get(judge)) for row in rows], [row["template"] for row in rows], seed)
    bounds = [found.interval.low, found.interval.high] if found.interval else None
    return {"rate": found.rate, "ci": bounds, "won": found.won, "tied": found.tied, "lost": found.lost}


def _compared(
    values: Numbers, plain: Numbers, rows: Mapping[str, Row], seed: int
) -> tuple[float | None, list[float] | None, float | None, list[float] | None]:
    """Mean, its interval, mean difference from the plain values over what both have, and its interval."""
    templates = {item: row["template"] for item, row in rows.items()}
    own = {item: value for item, value in values.items() if value is not None}
    both = {item: value - other for item, value in own.items() if (other := plain.get(item)) is not None}
    return (*_mean(own, templates, seed), *_mean(both, templates, seed))


def _with_change(
    name: str, values: Numbers, plain: Numbers, rows: Mapping[str, Row], seed: int
) -> dict[str, float | list[float] | None]:
    """The same under the number's name, and those that go on "_ci", "_change" and "_change_ci"."""
    fields = (name, f"{name}_ci", f"{name}_change", f"{name}_change_ci")
    return dict(zip(fields, _compared(values, plain, rows, seed), strict=True))


def _mean(
    values: Mapping[str, float], templates: Mapping[str, str | None], seed: int
) -> tuple[float | None, list[float] | None]:
    if not values:
        return None, None
    numbers = np.array(list(values.values()), dtype=float)
    return float(numbers.mean()), interval(numbers, clusters(list(values), templates), seed)
