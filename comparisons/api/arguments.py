"""Arguments of a Python call: checked against their annotations, read as the options are, and shown as a command."""

from __future__ import annotations

import json
import shlex
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from comparisons.util.errors import CompareError

Call = Callable[..., Any]
PLAIN: dict[Any, type] = {int: Integral, float: Real}
"""What stands for a number's type: numpy's numbers fit too."""

PATHS = ("model", "data", "out", "plugins")

HOW = ("fresh", "progress")
"""Arguments that a command which repeats the call leaves out."""


def checked(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, with lists for its iterables.

    Raises:
        CompareError: one is of another type than its parameter says.
    """
    hints = get_type_hints(call, localns={"Progress": object})
    found = {name: _listed(value) for name, value in given.items()}
    for name, value in found.items():
        if not _fits(value, hints[name]):
            raise CompareError(f"{name} takes {signature(call).parameters[name].annotation}, not {value!r}.")
    return found


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(each) for key, each in value.items()}
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else value


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin is abc.Callable:
        return callable(value)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(parts) and all(map(_fits, value, parts))
    if origin is abc.Iterable:
        return isinstance(value, list) and all(_fits(each, parts[0]) for each in value)
    if origin is abc.Mapping:
        return isinstance(value, dict) and all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in value.items())
    return isinstance(value, PLAIN.get(hint, hint)) and (hint is bool or not isinstance(value, bool))


def names(value: str | Iterable[str]) -> tuple[str, ...]:
    """A list of names, or one as text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


def model_names(value: str | Path | Iterable[str | Path]) -> tuple[str, ...]:
    """A list of models, or some as text with commas; a folder with a comma in its name is one."""
    if isinstance(value, (str, Path)):
        return (str(value),) if isinstance(value, Path) or Path(value).exists() else names(value)
    return tuple(map(str, value))


def checked_values(given: Mapping[str, Any]) -> None:
    """Raises CompareError where a list holds nothing or something twice, a path is empty, or the seed is none."""
    lists: dict[str, tuple[str | float, ...]] = {name: names(given[name]) for name in ("behavior", "directions")}
    if given["strengths"] is not None:
        lists["strengths"] = doses(given["strengths"])
    lists["model"] = model_names(given["model"])
    for name, found in lists.items():
        if not found:
            raise CompareError(f"{name} holds nothing: name one or more.")
        if (twice := next((each for each in found if found.count(each) > 1), None)) is not None:
            raise CompareError(f"{name}: {twice} is named twice: name it once.")
    for name in PATHS:
        if given[name] is not None and not (given[name] if isinstance(given[name], list) else str(given[name]).strip()):
            raise CompareError(f"{name} is empty: name a folder, or . for this one.")
    if not 0 <= given["seed"] < 2**32:
        raise CompareError(f"seed must be from 0 to {2**32 - 1}, not {given['seed']}.")


def doses(value: float | Iterable[float]) -> tuple[float, ...]:
    """A list of doses, or one."""
    return tuple(map(float, value)) if isinstance(value, Iterable) else (float(value),)


def layer_text(value: str | int | Iterable[int]) -> str:
    """Layers as `--layers` takes them."""
    return value if isinstance(value, str) else ",".join(map(str, value if isinstance(value, Iterable) else [value]))


def setting_texts(settings: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Settings by "method.setting" as method -> setting -> values in text.

    Raises:
        CompareError: a name has another form, or a list is empty or holds a value twice.
    """
    from comparisons.method.settings import setting_text

    found: dict[str, dict[str, list[str]]] = {}
    for name, value in settings.items():
        method, dot, field = (part.strip() for part in name.partition("."))
        texts = [setting_text(each) for each in (value if isinstance(value, list) else [value])]
        if not (dot and method and field and texts):
            raise CompareError(
                f"settings: {name!r} can't be read: write {{'method.setting': value}}, or a list of them."
            )
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise CompareError(f"settings: {name!r} holds {twice!r} twice: name each value once.")
        if field in found.get(method, {}):
            raise CompareError(f"settings: {name!r} is given twice: list its values once.")
        found.setdefault(method, {})[field] = texts
    return found


def python_command(call: Call, given: Mapping[str, Any]) -> str:
    """A shell's command that makes the call again.

    Args:
        call: a function that `comparisons` has.
        given: its arguments; those at their defaults are left out.
    """
    parameters = signature(call).parameters
    said = [
        f"{name}={_literal(value)}"
        for name, value in given.items()
        if name not in HOW and value != _listed(parameters[name].default)
    ]
    program = f"import comparisons; comparisons.{call.__name__}({', '.join(said)})"
    return f"python -c {shlex.quote(program)}"


def _literal(value: Any) -> str:
    """A value as Python reads it; double quotes, since the whole stands in single ones."""
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, bool) or value is None:
        return repr(value)
    return repr(int(value)) if isinstance(value, Integral) else repr(float(value))
