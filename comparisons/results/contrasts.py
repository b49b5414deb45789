"""Contrasts as a summary holds them, each pair once: found for either order of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from comparisons.results.schema import Contrast, Difference, Verdict

OPPOSITE: dict[Verdict, Verdict] = {
    "better": "worse",
    "worse": "better",
    "equivalent": "equivalent",
    "undecided": "undecided",
}

D = TypeVar("D", bound=Difference)


def between(contrasts: Sequence[Contrast], a: str, b: str) -> Contrast | None:
    """Cell a against cell b; None where the two were not compared."""
    for each in contrasts:
        if (each["a"], each["b"]) == (a, b):
            return each
        if (each["a"], each["b"]) == (b, a):
            return turned(each)
    return None


def turned(contrast: Contrast) -> Contrast:
    """The same with its cells exchanged."""
    content, cost = contrast.get("content"), contrast.get("cost")
    return {
        **_negated(contrast),
        "a": contrast["b"],
        "b": contrast["a"],
        "name_a": contrast["name_b"],
        "name_b": contrast["name_a"],
        "verdict": OPPOSITE[contrast["verdict"]],
        "content": content and _negated(content),
        "cost": cost and {**_negated(cost), "verdict": OPPOSITE[cost["verdict"]]},
    }


def flat(contrast: Contrast) -> dict[str, Any]:
    """The contrast as columns: an interval as `low` and `high`, content and cost behind the prefix of their names."""
    place: Mapping[str, Any] = contrast
    columns = {name: place[name] for name in ("behavior", "direction", "a", "b", "name_a", "name_b")} | _flat(contrast)
    for name in ("content", "cost"):
        part: Mapping[str, Any] = place.get(name) or {}
        known = (*Difference.__annotations__, *(("verdict", "n_items", "n_clusters") if name == "cost" else ()))
        columns |= {f"{name}_{key}": value for key, value in _flat({each: part.get(each) for each in known}).items()}
    return columns


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("ci", "simultaneous_ci"):
            head = name.removesuffix("ci")
            columns |= dict(zip((f"{head}low", f"{head}high"), value or (None, None), strict=True))
        elif name not in ("content", "cost"):
            columns[name] = value
    return columns


def _negated(difference: D) -> D:
    value = difference["difference"]
    intervals = {name: difference[name] for name in ("ci", "simultaneous_ci")}
    turned = {name: ci and [0.0 - ci[1], 0.0 - ci[0]] for name, ci in intervals.items()}
    return cast(D, {**difference, "difference": None if value is None else 0.0 - value, **turned})
