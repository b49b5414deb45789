"""What every method must keep to, tried on a tiny random model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comparisons.intervention import Intervention
from comparisons.method.checks import (
    CANDIDATES,
    DOSE,
    FIT,
    FITTING,
    INTERVENE,
    MODEL,
    PLACE,
    READING,
    REPEATED,
    SAME,
    Check,
    Findings,
    check_declaration,
    differences,
    state,
    toy_behavior,
    toy_lm,
    toy_questions,
)
from comparisons.method.interface import Fit, Method, Use
from comparisons.util.directions import DIRECTIONS, Direction
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.model.lm import LM

STRENGTHS = (0.0, 1.0, 2.0)


def check_method(cls: type[Method]) -> None:
    """Runs the conformance suite on a method class.

    It fits and uses the class on a tiny random model and a made-up behavior, in a temporary folder.

    Raises:
        CompareError: something fails; each failure has a line of its own.
    """
    failures = [line for check in examine_method(cls) for line in check.failures]
    if failures:
        raise CompareError("\n- ".join([f"{cls.__name__} is not a sound method:", *failures]))


def examine_method(cls: type[Method]) -> tuple[Check, ...]:
    """Runs every check on a method class, and says of each what came of it.

    It fits and uses the class on a tiny random model and a made-up behavior, in a temporary folder.
    """
    findings = Findings()
    check_declaration(cls, findings)
    if not findings.failures:
        with TemporaryDirectory() as folder, _working_in(Path(folder).resolve()) as root:
            _Trial(cls, toy_lm(), root, findings).run()
    return findings.checks()


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


@dataclass(frozen=True)
class _Trial:
    """A method class in use.

    Attributes:
        root: a temporary folder; `root/elsewhere` is the working directory.
    """

    cls: type[Method]
    lm: LM
    root: Path
    findings: Findings

    def run(self) -> None:
        """Fits and uses the class."""
        behavior = toy_behavior("agreement")
        methods = self._methods()
        before = state(self.lm)
        fitted: dict[Direction, Path] = {}
        for direction in DIRECTIONS:
            if methods and (direction == "pos" or self.cls.fits == "direction"):
                fitted[direction] = self._fit(methods[0], behavior, direction)
        for what in differences(before, state(self.lm)):
            self.findings.fail(MODEL, f"the model's {what} changed: leave it as it was")
        if not self.findings.failures:
            for method in methods:
                self._use(method, behavior, fitted)

    def _methods(self) -> list[Method]:
        """The candidates that share the first one's fit, or the method at its defaults where it has none."""
        blocks = len(self.lm.blocks)
        made = self.findings.attempt(CANDIDATES, "candidates", lambda: list(self.cls().candidates(blocks)))
        candidates: Sequence[Method] = made or ()
        for candidate in candidates:
            if type(candidate) is not self.cls:
                text = f"candidates must be of the class itself, not {type(candidate).__name__}"
                self.findings.fail(CANDIDATES, text)
            elif candidate.candidates(blocks):
                self.findings.fail(CANDIDATES, "a candidate must leave nothing open: its own candidates must be empty")
        if self.findings.failures:
            return []
        return [c for c in candidates if c.fit_settings() == candidates[0].fit_settings()] or [self.cls()]

    def _fit(self, method: Method, behavior: Behavior, direction: Direction) -> Path:
        """Fits, then moves what was written: a method that keeps a path of its own will not find it again."""
        moved = self.root / f"fitted-{direction}"
        if method.fits == "never":
            moved.mkdir()
            return moved
        self.findings.begin(PLACE, MODEL)
        out = self._fit_by(method, behavior, direction, 0)
        out.rename(moved)
        if not method.seeded and not self.findings.failures:
            self.findings.begin(SAME)
            again = self._fit_by(method, behavior, direction, 1)
            if _relative(again) != _relative(moved):
                text = "fit writes something else with another seed: leave seeded out, so that --seeds fits it anew"
                self.findings.fail(SAME, text)
        return moved

    def _fit_by(self, method: Method, behavior: Behavior, direction: Direction, seed: int) -> Path:
        """Fits by a seed into a folder of its own, which is returned."""
        out = self.root / f"fit-{direction}-{seed}"
        out.mkdir()
        siblings = {"honesty": toy_behavior("honesty")} if "siblings" in method.needs else {}
        neutral = toy_questions() if "neutral" in method.needs else ()
        fit = Fit(self.lm, behavior, siblings, direction, seed, Intervention(), out, neutral=neutral)
        before = _files(self.root)
        self.findings.attempt(FIT, f"fit ({direction})", lambda: method.fit(fit))
        for path in sorted(_files(self.root) - before):
            if out not in path.parents:
                self.findings.fail(PLACE, f"fit wrote {path.relative_to(self.root)}, outside of fit.out")
        return out

    def _use(self, method: Method, behavior: Behavior, fitted: dict[Direction, Path]) -> None:
        self.findings.begin(READING)
        before = _contents(self.root)
        for direction in DIRECTIONS:
            self._directed(method, behavior, direction, fitted.get(direction, fitted["pos"]))
        if before != _contents(self.root):
            self.findings.fail(READING, "intervene wrote to a folder: it may only read use.fitted")

    def _directed(self, method: Method, behavior: Behavior, direction: Direction, folder: Path) -> None:
        """Intervenes in one direction at several strengths, twice each, and once without the fit's files."""

        def intervene(strength: float, fitted: Path = folder) -> Intervention:
            made: Any = method.intervene(Use(behavior, direction, strength, fitted))
            if not isinstance(made, Intervention):
                raise CompareError(f"it must return an Intervention, not {type(made).__name__}")
            return made

        what = f"intervene ({direction})"
        tried = [self.findings.attempt(INTERVENE, what, partial(intervene, s)) for s in (*STRENGTHS, *STRENGTHS)]
        made = [intervention for intervention in tried if intervention is not None]
        if len(made) < len(tried):
            return
        for intervention in made:
            for text in self._misfits(intervention, folder):
                self.findings.fail(FITTING, text)
        self.findings.begin(FITTING, REPEATED, DOSE)
        digests = [intervention.digest for intervention in made]
        once, again = digests[: len(STRENGTHS)], digests[len(STRENGTHS) :]
        if once != again:
            self.findings.fail(REPEATED, "intervene gives another intervention when it is called again")
        if method.dosed and once[0] != Intervention().digest:
            self.findings.fail(DOSE, "strength 0 must change nothing")
        if not method.dosed and len(set(once)) > 1:
            self.findings.fail(DOSE, "dosed = False, but the strength changes the intervention")
        if method.fits != "never" and self._needs_no_fit(intervene, once[1]):
            text = "intervene reads nothing that fit wrote: read use.fitted, or set fits = 'never'"
            self.findings.fail(READING, text)

    def _needs_no_fit(self, intervene: Callable[[float, Path], Intervention], digest: str) -> bool:
        empty = self.root / "empty"
        empty.mkdir(exist_ok=True)
        made = Findings().attempt(INTERVENE, "", lambda: intervene(1.0, empty))
        return made is not None and made.digest == digest

    def _misfits(self, made: Intervention, folder: Path) -> Iterator[str]:
        blocks, width = len(self.lm.blocks), self.lm.width
        for edit in made.edits:
            if not 0 <= edit.layer < blocks:
                yield f"an edit's layer must be from 0 to {blocks - 1} on this model, not {edit.layer}"
            if edit.vector.shape[-1] != width:
                yield f"an edit's vector must have the model's width {width}, not {edit.vector.shape[-1]}"
            if not bool(edit.vector.isfinite().all()):
                yield "an edit's vector must be finite"
            if edit.when is not None and not self.cls.conditional:
                yield "its edits have a condition: set conditional = True"
            if edit.when is not None and len(edit.when.vector) != width:
                yield f"a condition's vector must have the model's width {width}, not {len(edit.when.vector)}"
        if made.adapter is None:
            return
        if not self.cls.adapts:
            yield "its intervention carries an adapter, of which a stack can hold one: set adapts = True"
        if folder not in made.adapter.resolve().parents and made.adapter.resolve() != folder:
            yield f"the adapter {made.adapter} must lie in use.fitted"
        elif not (made.adapter / "adapter_config.json").is_file():
            yield f"the adapter {made.adapter.name} in use.fitted has no adapter_config.json"


def _files(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def _contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _files(root) if path.is_file()}


def _relative(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): content for path, content in _contents(folder).items()}
