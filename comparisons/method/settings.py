"""Settings of plugins: text to typed values, by the annotations of their fields."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from comparisons.util.errors import CompareError, unknown

if TYPE_CHECKING:
    from comparisons.method.interface import Method

JOINT = "+"
"""Between the parts of a list that is one value: a comma stands between values."""

STRENGTH = "strength"
"""The pseudo-setting of a dosed method: its dose where another element takes the run's strength."""


Key = TypeVar("Key")
Value = TypeVar("Value")
Plugin = TypeVar("Plugin")


@dataclass(frozen=True)
class Setting:
    """A setting as `compare methods` shows it.

    Attributes:
        type: such as "int | auto".
        default: as text that parses to it; None where there is no default.
    """

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class Form:
    """One way to read a text.

    Attributes:
        name: as a list of settings shows it.
        hint: as an error message puts it.
        parse: text to value; raises ValueError.
    """

    name: str
    hint: str
    parse: Callable[[str], Any]


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if "_" in text or not math.isfinite(value):
        raise ValueError(text)
    return value


def _path(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text)


# In a union the first that fits wins, so the order is from the narrowest to the widest.
FORMS: dict[Any, Form] = {
    NoneType: Form("none", "none", lambda text: {"none": None}[text.lower()]),
    bool: Form("bool", "true or false", lambda text: {"true": True, "false": False}[text.lower()]),
    int: Form("int", "an integer", _integer),
    float: Form("float", "a finite number", _number),
    Path: Form("path", "a path", _path),
    str: Form("str", "text", str),
}


WIDEST: tuple[Any, ...] = (Path, str)
"""What reads nearly any text, and is tried behind lists."""


def setting_text(value: object) -> str:
    """The text that parses to a value: "none", "true", "0.5"; of a list "a+b"."""
    if isinstance(value, (tuple, list)):
        return JOINT.join(map(setting_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def setting_forms(cls: type[Any]) -> dict[str, list[Form]]:
    """How each setting of a plugin can be read, in the order in which it is tried.

    Raises:
        CompareError: an annotation can't be read, or is not int, float, bool, str, Path, a tuple of any number of one
            of these, None, Literal or a union of these.
    """
    try:
        hints = get_type_hints(cls)
    except Exception as error:
        raise CompareError(f"the annotations of {cls.__name__} can't be read: {error}.") from error
    return {field.name: _forms(cls, field.name, hints[field.name]) for field in dataclasses.fields(cls)}


def _forms(cls: type[Any], name: str, hint: Any) -> list[Form]:
    exact: list[Form] = []
    lists: list[Form] = []
    plain: set[Any] = set()
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(part) is Literal:
            exact += [Form(text, text, {text: v}.__getitem__) for v in get_args(part) for text in [setting_text(v)]]
        elif part in FORMS:
            plain.add(part)
        elif get_origin(part) is tuple and get_args(part)[1:] == (...,) and get_args(part)[0] in FORMS:
            lists.append(_listed(FORMS[get_args(part)[0]]))
        else:
            raise CompareError(
                f"setting '{name}' of {cls.__name__} has type {hint}: "
                "use int, float, bool, str, Path, a tuple such as tuple[int, ...], None, Literal or a union of these."
            )
    narrow, wide = ([FORMS[kind] for kind in FORMS if kind in plain and (kind in WIDEST) is w] for w in (False, True))
    return exact + narrow + lists + wide


def _listed(form: Form) -> Form:
    def parse(text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(JOINT)] if text else []
        if not all(parts):
            raise ValueError(text)
        return tuple(map(form.parse, parts))

    return Form(f"list of {form.name}", f"{form.hint} or several joined by {JOINT}", parse)


def describe_settings(cls: type[Any]) -> tuple[Setting, ...]:
    """The settings of a plugin in the order of its fields; raises CompareError as `setting_forms` does."""
    forms = setting_forms(cls)
    settings = []
    for field in dataclasses.fields(cls):
        default = None
        if field.default is not dataclasses.MISSING:
            default = setting_text(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = setting_text(field.default_factory())
        settings.append(Setting(field.name, " | ".join(form.name for form in forms[field.name]), default))
    return tuple(settings)


def parse_settings(cls: type[Plugin], texts: Mapping[str, str], name: str | None = None) -> Plugin:
    """A plugin with the given settings, the others at their defaults.

    In a union such as `int | Literal["auto"]` a literal is tried first, then None ("none"), bool, int, float,
    lists ("a+b" of `tuple[str, ...]`), Path and str.

    Args:
        cls: the method, or evaluation.
        texts: setting -> value as typed.
        name: its name in messages; by default that of the file that defines it.

    Raises:
        CompareError: a setting is unknown, has no default and no value, or a value is not valid.
    """
    name = name or cls.__module__.rpartition(".")[2]
    values = parse_values(cls, texts, name)
    missing = [s.name for s in describe_settings(cls) if s.default is None and s.name not in values]
    if missing:
        raise CompareError(f"{name}.{missing[0]} has no default: give it by --set {name}.{missing[0]}=VALUE.")
    try:
        return cls(**values)
    except ValueError as error:
        raise CompareError(f"the settings of {name} are not valid: {' '.join(str(error).split())}") from error


def parse_values(cls: type[Any], texts: Mapping[str, str], name: str) -> dict[str, Any]:
    """The values of the given settings; raises CompareError where one is unknown or not valid."""
    forms = setting_forms(cls)
    for field in texts:
        if field not in forms:
            raise unknown(f"setting of {name}", field, [*forms, *([STRENGTH] if getattr(cls, "dosed", False) else [])])
    return {field: _parse(f"{name}.{field}", text, forms[field]) for field, text in texts.items()}


def _parse(setting: str, text: str, forms: Sequence[Form]) -> Any:
    for form in forms:
        try:
            return form.parse(text)
        except (KeyError, ValueError, OverflowError):
            continue
    *most, last = [form.hint for form in forms]
    valid = f"{', '.join(most)} or {last}" if most else last
    raise CompareError(f"{setting}={text!r} is not valid: use {valid}.")


def parse_strength(cls: type[Method], text: str, name: str) -> float:
    """The value of `--set METHOD.strength`: a dose of at least 0.

    Raises:
        CompareError: the method has no dose, or the value is no finite number of at least 0.
    """
    if not cls.dosed:
        raise CompareError(f"{name}.{STRENGTH}={text!r} means nothing, {name} has no dose: leave it out.")
    try:
        value = _number(text)
    except ValueError:
        value = -1.0
    if value < 0:
        raise CompareError(f"{name}.{STRENGTH}={text!r} is not valid: use a finite number of at least 0.")
    return value


def parse_set_options(options: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Reads `METHOD.FIELD=VALUE[,VALUE…]` options: method -> setting -> values, still as text.

    Blanks around a name or a value do not count; a value can hold no comma. The parts of a list that is one value are
    joined by "+".

    Raises:
        CompareError: an option has another form, or names a setting or a value twice.
    """
    settings: dict[str, dict[str, list[str]]] = {}
    for option in options:
        left, equals, right = option.partition("=")
        method, dot, field = (part.strip() for part in left.partition("."))
        values = [value.strip() for value in right.split(",")]
        if not (equals and dot and method and field and all(values)):
            raise CompareError(f"--set {option!r} can't be read: write METHOD.FIELD=VALUE[,VALUE…].")
        if field in settings.get(method, {}):
            raise CompareError(f"--set {method}.{field} is given twice: list its values once, with commas.")
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise CompareError(f"--set {option!r} holds {twice!r} twice: name each value once.")
        settings.setdefault(method, {})[field] = values
    return settings


def setting_texts(settings: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Settings by "method.setting", each a value or several, as `parse_set_options` gives them.

    A list within a list is one value.

    Raises:
        CompareError: a name has another form, its values are none or hold one twice, or a part of a list in a list
            has a "+".
    """
    by_method: dict[str, dict[str, list[str]]] = {}
    for name, value in settings.items():
        method, dot, field = (part.strip() for part in name.partition("."))
        texts = [_value_text(name, each) for each in (value if isinstance(value, (list, tuple)) else [value])]
        if not (dot and method and field and texts):
            raise CompareError(
                f"settings: {name!r} can't be read: write {{'method.setting': value}}, or a list of them."
            )
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise CompareError(f"settings: {name!r} holds {twice!r} twice: name each value once.")
        if field in by_method.get(method, {}):
            raise CompareError(f"settings: {name!r} is given twice: list its values once.")
        by_method.setdefault(method, {})[field] = texts
    return by_method


def _value_text(name: str, value: Any) -> str:
    parts = value if isinstance(value, (list, tuple)) else ()
    if (joint := next((part for part in parts if JOINT in setting_text(part)), None)) is not None:
        raise CompareError(f"settings: {name!r} has {joint!r} in a list that is one value: its parts hold no {JOINT}.")
    return setting_text(value)


def expand(values: Mapping[Key, Sequence[Value]]) -> list[dict[Key, Value]]:
    """Every combination of one value a key; the last key varies fastest. Nothing to vary gives [{}]."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
