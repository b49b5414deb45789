"""Options, each declared once, as a field of a frozen dataclass: `seed: Annotated[int, Option("Of splits.")] = 0`.

The command line makes its options of such fields, `comparisons.run` its arguments, and run.json shows them. Whatever
is given, as text in a shell or as a value in Python, the same reader makes the field's value of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from comparisons.util.errors import CompareError

Reader = Callable[[Any, str], Any]
"""Makes a value of what is given, which has the second argument's name in messages; raises CompareError."""


@dataclass(frozen=True)
class Option:
    """What a field's type doesn't say.

    Attributes:
        name: of the argument, and of the option but for dashes; by default the field's.
        flag: of the option, where that is another.
        metavar: what stands for its value in `--help`.
        read: the reader; by default that of the field's type.
        least, most: the range of a number.
        choices: the words that text may be; one that ends in a colon may go on.
        required: whether a command that has it must be given it.
        default_in_help: whether nothing stands for the default, which `help` names: whether it was given matters.
        recorded: whether it can change a run's numbers.
        asks: whether it has further things asked of every cell.
    """

    help: str
    name: str = ""
    flag: str = ""
    metavar: str | None = None
    read: Reader | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    default_in_help: bool = False
    recorded: bool = True
    asks: bool = False


@dataclass(frozen=True)
class Declared:
    """An option with what its field says.

    Attributes:
        type: without None.
        optional: whether it may be None.
        default: None where there is none to show.
    """

    field: str
    type: Any
    optional: bool
    default: Any
    option: Option

    @property
    def name(self) -> str:
        """Of the argument."""
        return self.option.name or self.field

    @property
    def flag(self) -> str:
        """Of the option, as typed."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    def read(self, given: Any, name: str) -> Any:
        """The field's value; raises CompareError, in which the option has this name, where it can't be."""
        reader = self.option.read or _READERS.get(self.type)
        value = given if reader is None or given is None else reader(given, name)
        least, most = self.option.least, self.option.most
        if value is not None and ((least is not None and value < least) or (most is not None and value > most)):
            span = f"from {least} to {most}" if most is not None else f"at least {least}"
            raise CompareError(f"{name} must be {span}, not {value}.")
        return value


def declared(*records: type) -> dict[str, Declared]:
    """The options of dataclasses, by name, in the order of their fields."""
    fields = [each for record in records for each in _declared(record)]
    return {each.name: each for each in fields}


def _declared(record: type) -> Iterable[Declared]:
    hints = get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        hint, *notes = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else (None,)
        option = next((note for note in notes if isinstance(note, Option)), None)
        if option is None:
            continue
        parts = [part for part in get_args(hint) if part is not NoneType]
        optional = NoneType in get_args(hint)
        default = field.default_factory() if callable(field.default_factory) else field.default
        shown = None if option.default_in_help else default
        yield Declared(field.name, parts[0] if optional else hint, optional, shown, option)


def values_of(record: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass among options that have been read; one that wasn't given has its default."""
    return {each.field: given[each.name] for each in _declared(record) if each.name in given}


def recorded(record: Any) -> dict[str, Any]:
    """The options of a dataclass that can change a run's numbers, as JSON has them."""
    fields = [each.field for each in _declared(type(record)) if each.option.recorded]
    return {field: _plain(getattr(record, field)) for field in fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def names(given: str | Iterable[str], name: str) -> tuple[str, ...]:
    """A list of names, or one as text with commas."""
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(part.strip() for part in parts if part.strip())


def some_names(given: str | Iterable[str], name: str) -> tuple[str, ...]:
    """As `names`: at least one, and none twice."""
    return _distinct(names(given, name), name)


def numbers(given: str | float | Iterable[float], name: str) -> tuple[float, ...]:
    """A list of numbers, or one, or some as text with commas: at least one, and none twice."""
    try:
        if isinstance(given, str):
            given = [float(part) for part in given.split(",") if part.strip()]
    except ValueError:
        raise CompareError(f"{name} takes numbers such as 0.5,1,2, not '{given}'.") from None
    return _distinct(tuple(map(float, given)) if isinstance(given, Iterable) else (float(given),), name)


def _distinct(values: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if not values:
        raise CompareError(f"{name} holds nothing: name one or more.")
    if (twice := next((each for each in values if values.count(each) > 1), None)) is not None:
        raise CompareError(f"{name}: {twice} is named twice: name it once.")
    return values


def folder(given: str | Path, name: str) -> Path:
    """A path; an empty one, as an unset variable of a shell leaves, is no folder and not the current one."""
    if not str(given).strip():
        raise CompareError(f"{name} is empty: name a folder, or . for this one.")
    return Path(given)


def text(given: Any, name: str) -> str:
    """Text, or what reads as such."""
    return str(given)


_READERS: dict[Any, Reader] = {Path: folder, tuple[str, ...]: names, tuple[float, ...]: numbers}
