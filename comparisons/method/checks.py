"""What a method must keep to: each check, what came of it, and those that look at the class alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from comparisons.method.guard import foreign
from comparisons.method.interface import Method
from comparisons.method.settings import STRENGTH, Setting, describe_settings, parse_settings
from comparisons.util.errors import CompareError
from comparisons.util.plugins import first_line

Result = TypeVar("Result")

KIND = "It is a concrete frozen dataclass and a subclass of Method."
DOCSTRING = "It has a docstring, whose first line `compare methods` shows."
DECLARED = (
    "What it declares (role, fits, dosed, adapts, swept, seeded, conditional, mild_first) can be, and fits what it "
    "defines."
)
SETTINGS = "Its settings have defaults, and types that a text can stand for."
CANDIDATES = "Its candidates for settings left open are of its class and leave nothing open."
FIT = "fit ends without an error in every direction."
PLACE = "fit writes to fit.out and nowhere else."
SAME = "fit writes the same whatever the seed, where seeded = False says so."
MODEL = "fit leaves model and tokenizer as they were."
INTERVENE = "intervene gives an Intervention in both directions and at every strength."
FITTING = "What it changes fits the model: layers, widths, finite numbers, an adapter of its own fit."
REPEATED = "intervene gives the same when it is called again."
DOSE = "The strength does what dosed says: 0 changes nothing, or none makes a difference."
READING = "intervene reads what fit wrote, and writes nothing."

CHECKS = (
    KIND,
    DOCSTRING,
    DECLARED,
    SETTINGS,
    CANDIDATES,
    FIT,
    PLACE,
    SAME,
    MODEL,
    INTERVENE,
    FITTING,
    REPEATED,
    DOSE,
    READING,
)
"""Every check, in the order in which they are tried."""


@dataclass(frozen=True)
class Check:
    """One thing that a method must keep to.

    Attributes:
        what: a sentence that holds of a sound method.
        status: a check is not tried where an earlier one failed, or where it doesn't apply.
        failures: what fails, a line each.
    """

    what: str
    status: Literal["holds", "fails", "not tried"]
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The status, the sentence, and below them what fails."""
        width = len("not tried") + 2
        return "\n".join([f"{self.status:{width}}{self.what}", *(f"{'':{width}}- {line}" for line in self.failures)])


class Findings:
    """Collects what was tried and what failed.

    Args:
        checks: what is tried, in this order: sentences.
    """

    def __init__(self, checks: Sequence[str] = CHECKS) -> None:
        self._checks = checks
        self._failures: dict[str, list[str]] = {}

    def begin(self, *checks: str) -> None:
        """These are tried now."""
        for check in checks:
            self._failures.setdefault(check, [])

    def fail(self, check: str, text: str) -> None:
        """A check, which is thereby tried, fails; the same line counts once."""
        self.begin(check)
        if text not in self._failures[check]:
            self._failures[check].append(text)

    def attempt(self, check: str, what: str, call: Callable[[], Result]) -> Result | None:
        """Calls; what a method raises is one failure more, whatever it is."""
        self.begin(check)
        try:
            with foreign("it"):
                return call()
        except Exception as error:
            kind = "" if isinstance(error, CompareError) else f"{type(error).__name__}: "
            self.fail(check, " ".join(f"{what} failed: {kind}{error}".split()))
            return None

    @property
    def failures(self) -> list[str]:
        """Every line, in the order of the checks."""
        return [text for check in self._checks for text in self._failures.get(check, ())]

    def checks(self) -> tuple[Check, ...]:
        """Every check with what came of it."""
        return tuple(self._check(what) for what in self._checks)

    def _check(self, what: str) -> Check:
        if what not in self._failures:
            return Check(what, "not tried")
        failures = tuple(self._failures[what])
        return Check(what, "fails" if failures else "holds", failures)


def check_declaration(cls: type[Method], findings: Findings) -> None:
    """Looks at the class: what it is, declares, and lets be set."""
    findings.begin(KIND)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        findings.fail(KIND, "it must be a subclass of comparisons.method.Method")
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        findings.fail(KIND, f"it must be concrete: {missing} is missing")
    elif "__dataclass_params__" not in vars(cls):
        findings.fail(KIND, "it must be a frozen dataclass: write @dataclass(frozen=True) above it")
    else:
        findings.begin(DOCSTRING)
        if not first_line(cls):
            findings.fail(DOCSTRING, "it must have a docstring, whose first line `compare methods` shows")
        _declared(cls, findings)
        _settings(cls, findings)


def _declared(cls: type[Method], findings: Findings) -> None:
    findings.begin(DECLARED)
    if cls.role not in ("method", "control"):
        findings.fail(DECLARED, f"role must be 'method' or 'control', not {cls.role!r}")
    if cls.fits not in ("direction", "behavior", "never"):
        findings.fail(DECLARED, f"fits must be 'direction', 'behavior' or 'never', not {cls.fits!r}")
    elif cls.fits == "never" and cls.fit is not Method.fit:
        findings.fail(DECLARED, "fits = 'never' says that its fit is never called: leave fit out, or say what it fits")
    elif cls.fits != "never" and cls.fit is Method.fit:
        findings.fail(DECLARED, f"fits = {cls.fits!r}, but it has no fit: write one, or set fits = 'never'")
    for name in ("dosed", "adapts", "swept", "seeded", "conditional", "mild_first"):
        if not isinstance(getattr(cls, name), bool):
            findings.fail(DECLARED, f"{name} must be True or False, not {getattr(cls, name)!r}")


def _settings(cls: type[Method], findings: Findings) -> None:
    findings.begin(SETTINGS)
    try:
        settings = describe_settings(cls)
    except CompareError as error:
        findings.fail(SETTINGS, str(error))
        return
    for setting in settings:
        if setting.name == STRENGTH:
            findings.fail(SETTINGS, f"a setting can't be called '{STRENGTH}': the run's strength is use.strength")
        elif setting.default is None:
            findings.fail(SETTINGS, f"setting '{setting.name}' must have a default")
    complete = all(setting.default is not None for setting in settings)
    plain = findings.attempt(SETTINGS, "making it with its defaults", cls) if complete else None
    for setting in settings if plain else ():
        _reads_back(cls, setting, getattr(plain, setting.name), findings)


def _reads_back(cls: type[Method], setting: Setting, value: object, findings: Findings) -> None:
    """Whether the default's text means the default."""
    try:
        parsed = getattr(parse_settings(cls, {setting.name: str(setting.default)}), setting.name)
    except CompareError as error:
        findings.fail(SETTINGS, f"the default of setting '{setting.name}' does not fit its type: {error}")
        return
    if (type(parsed), parsed) != (type(value), value):
        findings.fail(SETTINGS, f"the default {value!r} of setting '{setting.name}' reads back as {parsed!r}")
