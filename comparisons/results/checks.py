"""Checks of the summary's values that are objects or lists themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from comparisons.results.status import UNSCORED


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def are_numbers(value: Any, count: int) -> bool:
    """Whether a value is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_interval(value: Any) -> bool:
    return value is None or are_numbers(value, 2)


def _is_side_effect(value: Any) -> bool:
    return isinstance(value, dict) and is_number(value.get("shift")) and _is_interval(value.get("ci"))


def _is_category(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(value.get(key)) for key in ("n_items", "knowledge", "cost"))


def _is_label(value: Any) -> bool:
    return _is_side_effect(value) and _is_count(value.get("n_items"))


def _is_difference(value: Any) -> bool:
    return _is_side_effect(value) and all(isinstance(value.get(name), str) for name in ("first", "second"))


def _is_repeat(value: Any) -> bool:
    """Whether a value is a side effect with the rest that a condition of `--robustness` has."""
    if not (_is_side_effect(value) and isinstance(value.get("broken"), bool)):
        return False
    if not all(is_number(value.get(name)) for name in ("baseline", "lost_mass")):
        return False
    share = value.get("survives")
    return (share is None or is_number(share)) and _is_interval(value.get("survives_ci"))


def _is_written(value: Any) -> bool:
    """Whether a value has the numbers of `--generated-choices`."""
    if not (isinstance(value, dict) and is_number(value.get("unparsed"))):
        return False
    counted = all(_is_count(value.get(name)) for name in ("n_answers", "n_items"))
    return counted and _has_numbers(value, ("accuracy", "agreement", "shift"), ("accuracy_ci", "shift_ci"))


def _is_open(value: Any) -> bool:
    """Whether a value has the numbers of `--open-ended`."""
    if not (isinstance(value, dict) and _is_count(value.get("n_answers")) and isinstance(value.get("judges"), dict)):
        return False
    qualities = ("length", "repetition", "fluency")
    return all(map(_is_judged, value["judges"].values())) and _has_numbers(
        value, (*qualities, *(f"{name}_change" for name in qualities)), [f"{name}_change_ci" for name in qualities]
    )


def _is_judged(value: Any) -> bool:
    """Whether a value has what one judge says of a cell's answers."""
    if not (isinstance(value, dict) and all(_is_count(value.get(name)) for name in ("n_scored", *UNSCORED))):
        return False
    if value.get("agrees") not in (True, False, None):
        return False
    wins = value.get("wins")
    if wins is not None and not (
        isinstance(wins, dict) and all(_is_count(wins.get(n)) for n in ("won", "tied", "lost"))
    ):
        return False
    return _has_numbers(wins or {}, ("rate",), ("ci",)) and _has_numbers(
        value, ("score", "shift", "tokens_in", "tokens_out", "dollars"), ("score_ci", "shift_ci")
    )


def is_about_judges(value: Any) -> bool:
    """Whether a value is what the summary says of judges; {} for nothing."""
    if not (isinstance(value, dict) and isinstance(value.get("known", {}), dict)):
        return False
    known, agreement = value.get("known", {}), value.get("agreement", [])
    numbers, correlations = ("share_right", "mean_absolute_error", "spearman"), ("alpha", "spearman", "kendall")
    return (
        isinstance(agreement, list)
        and all(isinstance(v, dict) and _is_count(v.get("n")) and _is_count(v.get("n_scored")) for v in known.values())
        and all(_has_numbers(each, numbers, ("share_right_ci",)) for each in known.values())
        and all(isinstance(v, dict) and isinstance(v.get("judges"), list) and _is_count(v.get("n")) for v in agreement)
        and all(_has_numbers(each, correlations, ()) for each in agreement)
    )


def _has_numbers(value: Mapping[str, Any], numbers: Iterable[str], intervals: Iterable[str]) -> bool:
    """Whether each of these fields is a number, or an interval, or has none."""
    return all(value.get(name) is None or is_number(value[name]) for name in numbers) and all(
        _is_interval(value.get(name)) for name in intervals
    )


def _is_plain(value: Any) -> bool:
    """Whether a value is a text, a flag, a number, a list or an object of such, or nothing."""
    if isinstance(value, (list, dict)):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (str, bool)) or is_number(value)


def _by_name(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


NESTED: dict[str, Callable[[Any], bool]] = {
    "side_effects": _by_name(_is_side_effect),
    "knowledge_by_category": _by_name(_is_category),
    "robustness": _by_name(_is_repeat),
    "generated": _is_written,
    "open_ended": _is_open,
    "measured": _by_name(lambda value: isinstance(value, dict) and all(map(_is_plain, value.values()))),
    "labels": _by_name(_is_label),
    "label_differences": lambda value: isinstance(value, list) and all(map(_is_difference, value)),
}
"""Whether a value that isn't None can stand in a field, by the field's name."""
