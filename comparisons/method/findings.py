"""What was tried of a method, and what came of it: each check by a sentence that holds of a sound method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from comparisons.method.guard import foreign
from comparisons.util.errors import CompareError

Result = TypeVar("Result")

KIND = "It is a concrete frozen dataclass and a subclass of Method."
DOCSTRING = "It has a docstring, whose first line `compare methods` shows."
DECLARED = "What it declares (role, fits, dosed, adapts, mild_first) can be, and fits what it defines."
SETTINGS = "Its settings have defaults, and types that a text can stand for."
CANDIDATES = "Its candidates for settings left open are of its class and leave nothing open."
FIT = "fit ends without an error in every direction."
PLACE = "fit writes to fit.out and nowhere else."
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
    """Collects what was tried and what failed."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def begin(self, *checks: str) -> None:
        """These are tried now."""
        for check in checks:
            self._found.setdefault(check, [])

    def fail(self, check: str, text: str) -> None:
        """A check, which is thereby tried, fails; the same line counts once."""
        self.begin(check)
        if text not in self._found[check]:
            self._found[check].append(text)

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
        return [text for check in CHECKS for text in self._found.get(check, ())]

    def checks(self) -> tuple[Check, ...]:
        """Every check with what came of it."""
        return tuple(self._check(what) for what in CHECKS)

    def _check(self, what: str) -> Check:
        if what not in self._found:
            return Check(what, "not tried")
        failures = tuple(self._found[what])
        return Check(what, "fails" if failures else "holds", failures)
