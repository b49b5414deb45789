"""Names to judges: the project's own and those of entry points, each imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from comparisons.judges.interface import Judge, Setup
from comparisons.util.errors import CompareError, described, unknown
from comparisons.util.plugins import installed

GROUP = "comparisons.judges"
"""The group of entry points that bring judges: each a callable (argument | None, Setup) -> Judge."""

_BUILT_IN = {
    "rules": "comparisons.judges.rules:make",
    "local": "comparisons.judges.local:make",
    "openai": "comparisons.judges.server:make",
    "embedding": "comparisons.judges.embedding:make",
    "pairwise": "comparisons.judges.pairwise:make",
}


def names() -> tuple[str, ...]:
    """All judges' names; imports none."""
    return tuple(sorted({*_BUILT_IN, *(point.name for point in installed(GROUP))}))


def check_judge(text: str) -> None:
    """Raises CompareError where no judge has the name; imports none."""
    name = text.partition(":")[0]
    if name not in names():
        raise unknown("judge", name, names())


def make_judge(text: str, setup: Setup) -> Judge:
    """The judge that `NAME` or `NAME:ARGUMENT` stands for.

    Raises:
        CompareError: the name is unknown or taken twice, or the judge can't be made.
    """
    check_judge(text)
    name, _, argument = text.partition(":")
    sources: list[Callable[[], Any]] = [partial(_load, _BUILT_IN[name])] if name in _BUILT_IN else []
    sources += [point.load for point in installed(GROUP) if point.name == name]
    if len(sources) > 1:
        raise CompareError(
            f"judge '{name}' is defined {len(sources)} times: remove all packages that bring it but one."
        )
    try:
        judge: Judge = sources[0]()(argument or None, setup)
    except CompareError:
        raise
    except Exception as error:  # a plugin's own code
        raise CompareError(f"judge '{name}' can't be made: {described(error)}") from error
    return judge


def _load(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)
