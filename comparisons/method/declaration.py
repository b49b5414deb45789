"""What can be said of a method class without using it."""

from __future__ import annotations

import inspect

from comparisons.method.findings import DECLARED, DOCSTRING, KIND, SETTINGS, Findings
from comparisons.method.interface import Method
from comparisons.method.settings import STRENGTH, Setting, describe_settings, parse_settings
from comparisons.util.errors import CompareError
from comparisons.util.plugins import first_line


def check_declaration(cls: type[Method], found: Findings) -> None:
    """Looks at the class: what it is, declares, and lets be set."""
    found.begin(KIND)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        found.fail(KIND, "it must be a subclass of comparisons.method.Method")
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        found.fail(KIND, f"it must be concrete: {missing} is missing")
    elif "__dataclass_params__" not in vars(cls):
        found.fail(KIND, "it must be a frozen dataclass: write @dataclass(frozen=True) above it")
    else:
        found.begin(DOCSTRING)
        if not first_line(cls):
            found.fail(DOCSTRING, "it must have a docstring, whose first line `compare methods` shows")
        _declared(cls, found)
        _settings(cls, found)


def _declared(cls: type[Method], found: Findings) -> None:
    found.begin(DECLARED)
    if cls.role not in ("method", "control"):
        found.fail(DECLARED, f"role must be 'method' or 'control', not {cls.role!r}")
    if cls.fits not in ("direction", "behavior", "never"):
        found.fail(DECLARED, f"fits must be 'direction', 'behavior' or 'never', not {cls.fits!r}")
    elif cls.fits == "never" and cls.fit is not Method.fit:
        found.fail(DECLARED, "fits = 'never' says that its fit is never called: leave fit out, or say what it fits")
    elif cls.fits != "never" and cls.fit is Method.fit:
        found.fail(DECLARED, f"fits = {cls.fits!r}, but it has no fit: write one, or set fits = 'never'")
    for name in ("dosed", "adapts", "mild_first"):
        if not isinstance(getattr(cls, name), bool):
            found.fail(DECLARED, f"{name} must be True or False, not {getattr(cls, name)!r}")


def _settings(cls: type[Method], found: Findings) -> None:
    found.begin(SETTINGS)
    try:
        settings = describe_settings(cls)
    except CompareError as error:
        found.fail(SETTINGS, str(error))
        return
    for setting in settings:
        if setting.name == STRENGTH:
            found.fail(SETTINGS, f"a setting can't be called '{STRENGTH}': the run's strength is use.strength")
        elif setting.default is None:
            found.fail(SETTINGS, f"setting '{setting.name}' must have a default")
    complete = all(setting.default is not None for setting in settings)
    plain = found.attempt(SETTINGS, "making it with its defaults", cls) if complete else None
    for setting in settings if plain else ():
        _reads_back(cls, setting, getattr(plain, setting.name), found)


def _reads_back(cls: type[Method], setting: Setting, value: object, found: Findings) -> None:
    """Whether the default's text means the default."""
    try:
        parsed = getattr(parse_settings(cls, {setting.name: str(setting.default)}), setting.name)
    except CompareError as error:
        found.fail(SETTINGS, f"the default of setting '{setting.name}' does not fit its type: {error}")
        return
    if (type(parsed), parsed) != (type(value), value):
        found.fail(SETTINGS, f"the default {value!r} of setting '{setting.name}' reads back as {parsed!r}")
