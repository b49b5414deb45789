"""How values of a run's options are read, from a command and from Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comparisons import stats
from comparisons.dataset.items import Item
from comparisons.util.errors import CompareError

SettingTexts = Mapping[str, Mapping[str, Sequence[str]]]


def settings_of(given: Iterable[str] | Mapping[str, Any], name: str) -> SettingTexts:
    """Settings as typed by --set, or as a mapping."""
    from comparisons.method.settings import parse_set_options, setting_texts

    return setting_texts(given) if isinstance(given, Mapping) else parse_set_options(given)


def margin_of(given: float, name: str) -> float:
    """A difference of probabilities, as a number between 0 and 1."""
    if not 0 < given < 1:
        raise CompareError(f"{name} must lie between 0 and 1, not {given:g}: it is a difference of probabilities.")
    return float(given)


def layers_of(given: str | int | Iterable[int], name: str) -> str:
    """Layers as text."""
    return ",".join(map(str, given)) if isinstance(given, Iterable) and not isinstance(given, str) else str(given)


def check_limit(limit: float, dev: Sequence[Item]) -> None:
    """Raises CompareError where the knowledge questions held out to choose by can't show a cost within a limit."""
    units = len({item.template or item.id for item in dev})
    least = math.ceil(1000 * stats.least_limit(units)) / 1000
    if limit < least:
        raise CompareError(
            f"--select cost<={limit:g}: the {units} knowledge questions that are held out to choose by can't show a "
            f"cost that small: allow at least {least:g}."
        )
