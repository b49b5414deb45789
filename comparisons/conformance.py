"""What every method must keep to, tried on a tiny random model; see `comparisons.method.check_method`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from comparisons.errors import CompareError
from comparisons.intervention import DIRECTIONS, Direction, Intervention
from comparisons.method import Fit, Method, Use
from comparisons.registry import first_line
from comparisons.settings import STRENGTH, describe_settings, parse_settings
from comparisons.specimens import differences, specimen_behavior, specimen_lm, state

if TYPE_CHECKING:
    from comparisons.behaviors import Behavior
    from comparisons.lm import LM

Result = TypeVar("Result")
STRENGTHS = (0.0, 1.0, 2.0)


def check(cls: type[Method]) -> None:
    """Runs every check on a method class; see `comparisons.method.check_method`.

    Raises:
        CompareError: something fails; each failure has a line of its own.
    """
    failures = list(_declaration(cls))
    if not failures:
        with TemporaryDirectory() as folder, _working_in(Path(folder).resolve()) as root:
            failures = _Trial(cls, specimen_lm(), root).run()
    if failures:
        raise CompareError("\n- ".join([f"{cls.__name__} is not a sound method:", *failures]))


@contextmanager
def _working_in(root: Path) -> Iterator[Path]:
    """Makes an empty folder the working directory, so that a stray write lands beneath `root`."""
    before = Path.cwd()
    (root / "elsewhere").mkdir()
    os.chdir(root / "elsewhere")
    try:
        yield root
    finally:
        os.chdir(before)


def _declaration(cls: type[Method]) -> Iterator[str]:
    """What can be said of the class without using it."""
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        yield "it must be a subclass of comparisons.method.Method"
        return
    if inspect.isabstract(cls):
        yield f"it must be concrete: {', '.join(sorted(cls.__abstractmethods__))} is missing"
        return
    if "__dataclass_params__" not in vars(cls):
        yield "it must be a frozen dataclass: write @dataclass(frozen=True) above it"
        return
    if not first_line(cls):
        yield "it must have a docstring, whose first line `compare methods` shows"
    if cls.role not in ("method", "control"):
        yield f"role must be 'method' or 'control', not {cls.role!r}"
    if cls.fits not in ("direction", "behavior", "never"):
        yield f"fits must be 'direction', 'behavior' or 'never', not {cls.fits!r}"
    elif cls.fits == "never" and cls.fit is not Method.fit:
        yield "fits = 'never' says that its fit is never called: leave fit out, or say what it fits"
    elif cls.fits != "never" and cls.fit is Method.fit:
        yield f"fits = {cls.fits!r}, but it has no fit: write one, or set fits = 'never'"
    for name in ("dosed", "adapts", "mild_first"):
        if not isinstance(getattr(cls, name), bool):
            yield f"{name} must be True or False, not {getattr(cls, name)!r}"
    yield from _settings(cls)


def _settings(cls: type[Method]) -> Iterator[str]:
    try:
        settings = describe_settings(cls)
    except CompareError as error:
        yield str(error)
        return
    for setting in settings:
        if setting.name == STRENGTH:
            yield f"a setting can't be called '{STRENGTH}': the run's strength is use.strength"
        elif setting.default is None:
            yield f"setting '{setting.name}' must have a default"
    failures: list[str] = []
    complete = all(setting.default is not None for setting in settings)
    plain = _attempt("making it with its defaults", cls, failures) if complete else None
    yield from failures
    for setting in settings if plain else ():
        value, text = getattr(plain, setting.name), str(setting.default)
        try:
            parsed = getattr(parse_settings(cls, {setting.name: text}), setting.name)
        except CompareError as error:
            yield f"the default of setting '{setting.name}' does not fit its type: {error}"
            continue
        if (type(parsed), parsed) != (type(value), value):
            yield f"the default {value!r} of setting '{setting.name}' reads back as {parsed!r}"


@dataclass(frozen=True)
class _Trial:
    """A method class in use.

    Attributes:
        cls: the class.
        lm: the tiny model.
        root: a temporary folder; `root/elsewhere` is the working directory.
    """

    cls: type[Method]
    lm: LM
    root: Path

    def run(self) -> list[str]:
        """Fits and uses the class; returns what fails."""
        failures: list[str] = []
        behavior = specimen_behavior("agreement")
        methods = self._methods(failures)
        before = state(self.lm)
        fitted: dict[Direction, Path] = {}
        for direction in DIRECTIONS:
            if methods and (direction == "pos" or self.cls.fits == "direction"):
                fitted[direction] = self._fit(methods[0], behavior, direction, failures)
        changed = differences(before, state(self.lm))
        failures += [f"the model's {what} changed: leave it as it was" for what in changed]
        for method in methods if not failures else []:
            self._use(method, behavior, fitted, failures)
        return list(dict.fromkeys(failures))

    def _methods(self, failures: list[str]) -> list[Method]:
        """The candidates that share the first one's fit, or the method at its defaults where it has none."""
        blocks = len(self.lm.blocks)
        made = _attempt("candidates", lambda: list(self.cls().candidates(blocks)), failures)
        found: Sequence[Method] = made or ()
        for candidate in found:
            if type(candidate) is not self.cls:
                failures.append(f"candidates must be of the class itself, not {type(candidate).__name__}")
                return []
            if candidate.candidates(blocks):
                failures.append("a candidate must leave nothing open: its own candidates must be empty")
                return []
        if failures:
            return []
        return [c for c in found if c.fit_settings() == found[0].fit_settings()] or [self.cls()]

    def _fit(self, method: Method, behavior: Behavior, direction: Direction, failures: list[str]) -> Path:
        """Fits, then moves what was written: a method that keeps a path of its own will not find it again."""
        out, moved = self.root / f"fit-{direction}", self.root / f"fitted-{direction}"
        out.mkdir()
        if method.fits != "never":
            siblings = {"honesty": specimen_behavior("honesty")} if "siblings" in method.needs else {}
            fit = Fit(self.lm, behavior, siblings, direction, 0, Intervention(), out)
            before = _files(self.root)
            _attempt(f"fit ({direction})", lambda: method.fit(fit), failures)
            strays = [path for path in sorted(_files(self.root) - before) if out not in path.parents]
            failures += [f"fit wrote {path.relative_to(self.root)}, outside of fit.out" for path in strays]
        out.rename(moved)
        return moved

    def _use(self, method: Method, behavior: Behavior, fitted: dict[Direction, Path], failures: list[str]) -> None:
        before = _contents(self.root)
        for direction in DIRECTIONS:
            folder = fitted.get(direction, fitted["pos"])
            failures += self._directed(method, behavior, direction, folder)
        if before != _contents(self.root):
            failures.append("intervene wrote to a folder: it may only read use.fitted")

    def _directed(self, method: Method, behavior: Behavior, direction: Direction, folder: Path) -> list[str]:
        """Intervenes in one direction at several strengths, twice each, and once without the fit's files."""
        failures: list[str] = []
        what = f"intervene ({direction})"

        def intervene(strength: float, fitted: Path = folder) -> Intervention:
            found: Any = method.intervene(Use(behavior, direction, strength, fitted))
            if not isinstance(found, Intervention):
                raise CompareError(f"it must return an Intervention, not {type(found).__name__}")
            return found

        tried = [_attempt(what, partial(intervene, s), failures) for s in (*STRENGTHS, *STRENGTHS)]
        found = [intervention for intervention in tried if intervention is not None]
        if failures:
            return failures
        for intervention in found:
            failures += self._fits_model(intervention, folder)
        digests = [intervention.digest for intervention in found]
        once, again = digests[: len(STRENGTHS)], digests[len(STRENGTHS) :]
        if once != again:
            failures.append("intervene gives another intervention when it is called again")
        if method.dosed and once[0] != Intervention().digest:
            failures.append("strength 0 must change nothing")
        if not method.dosed and len(set(once)) > 1:
            failures.append("dosed = False, but the strength changes the intervention")
        if method.fits != "never" and self._needs_no_fit(intervene, once[1]):
            failures.append("intervene reads nothing that fit wrote: read use.fitted, or set fits = 'never'")
        return failures

    def _needs_no_fit(self, intervene: Callable[[float, Path], Intervention], digest: str) -> bool:
        empty = self.root / "empty"
        empty.mkdir(exist_ok=True)
        found = _attempt("", lambda: intervene(1.0, empty), [])
        return found is not None and found.digest == digest

    def _fits_model(self, found: Intervention, folder: Path) -> Iterator[str]:
        blocks, width = len(self.lm.blocks), self.lm.width
        for edit in found.edits:
            if not 0 <= edit.layer < blocks:
                yield f"an edit's layer must be from 0 to {blocks - 1} on this model, not {edit.layer}"
            if edit.vector.shape[-1] != width:
                yield f"an edit's vector must have the model's width {width}, not {edit.vector.shape[-1]}"
            if not bool(edit.vector.isfinite().all()):
                yield "an edit's vector must be finite"
        if found.adapter is None:
            return
        if not self.cls.adapts:
            yield "its intervention carries an adapter, of which a stack can hold one: set adapts = True"
        if folder not in found.adapter.resolve().parents and found.adapter.resolve() != folder:
            yield f"the adapter {found.adapter} must lie in use.fitted"
        elif not (found.adapter / "adapter_config.json").is_file():
            yield f"the adapter {found.adapter.name} in use.fitted has no adapter_config.json"


def _files(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def _contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _files(root) if path.is_file()}


def _attempt(what: str, call: Callable[[], Result], failures: list[str]) -> Result | None:
    """Calls; what a method raises is one failure more, whatever it is."""
    try:
        return call()
    except Exception as error:
        kind = "" if isinstance(error, CompareError) else f"{type(error).__name__}: "
        failures.append(" ".join(f"{what} failed: {kind}{error}".split()))
        return None
