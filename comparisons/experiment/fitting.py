"""Fits the elements of a stack, each once, and puts their interventions together."""

from __future__ import annotations

import atexit
import inspect
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Item, Measure
from comparisons.dataset.splits import resample
from comparisons.engine.adapters import preserved
from comparisons.engine.completions import completion_tails
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Element
from comparisons.intervention import Context, Intervention, stack
from comparisons.method.interface import Fit, Method, Use
from comparisons.model.lm import LM
from comparisons.model.meter import Work, steps_of
from comparisons.util.artifacts import Artifact, Store, scratch_of
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest, json_digest
from comparisons.util.plugins import foreign, package_version

PACKAGES = ("torch", "transformers", "peft", "trl", "numpy", "scikit-learn")
"""Packages whose version is part of an artifact's key."""


@dataclass(frozen=True)
class Built:
    """A stack's intervention, and what fitting it took.

    Attributes:
        fit_seconds: of all fits it rests on, whenever they were made.
    """

    intervention: Intervention
    fit_seconds: float


@dataclass(frozen=True)
class Fitter:
    """One behavior on one model: where methods are fitted.

    Attributes:
        siblings: the run's other behaviors.
        measure: by what the run measures, which fits follow unless told otherwise.
        fixed: the seed of fits that draw nothing at random; None for the same.
        neutral: questions about nothing of the run's behaviors, for methods that need them.
    """

    lm: LM
    behavior: Behavior
    siblings: Mapping[str, Behavior]
    store: Store
    seed: int
    measure: Measure = "letters"
    fixed: int | None = None
    neutral: Sequence[Item] = ()

    def again(self, seed: int, resampled: bool, train: Sequence[Item]) -> Fitter:
        """Where the same methods are fitted by another seed.

        Args:
            resampled: whether on pairs that are drawn anew by it.
        """
        if (seed, self.fixed) == (self.seed, self.seed):
            return self  # with the tokens that it has counted
        behavior = replace(self.behavior, train=resample(train, seed)) if resampled else self.behavior
        return replace(self, seed=seed, behavior=behavior, fixed=self.seed if self.fixed is None else self.fixed)

    def pass_tokens(self, method: Method) -> int:
        """Tokens of a plain pass over the training pairs: each prompt once, with the answers that are read."""
        prompts, answers = self._pair_tokens
        return prompts + (answers // 2 if on_one_text(method, self.measure) else answers)

    @cached_property
    def _pair_tokens(self) -> tuple[int, int]:
        """Tokens of the training pairs' prompts, and of their answers."""
        lm, items = self.lm, self.behavior.train
        if self.measure == "letters":
            asked = (lm.choice_prompt(item.question, (item.matching, item.contrast)) for item in items)
            return sum(len(each.ids) for each in asked), 2 * len(items)
        texts = (lm.prompt(item.stem) for item in items)
        tails = [
            completion_tails(lm, 0, text, item.texts) for text, item in zip(texts, items, strict=True) if item.texts
        ]
        return sum(len(each.prefix) for each in tails), sum(sum(map(len, each.tails)) for each in tails)

    def build(self, elements: Sequence[Element]) -> Built:
        """Fits the elements from left to right and stacks their interventions."""
        below, seconds = Intervention(), 0.0
        for element in elements:
            artifact = self.fitted(element, below)
            part = self.use(element, artifact)
            below, seconds = stack((below, part)), seconds + (artifact.seconds if artifact else 0.0)
        return Built(below, seconds)

    def reworded(self, elements: Sequence[Element], wording: Behavior) -> Intervention:
        """The stack's intervention from the same fits, as its methods make it of another wording of the behavior."""
        below, found, fitter = Intervention(), Intervention(), replace(self, behavior=wording)
        for element in elements:
            artifact = self.fitted(element, below)
            below = stack((below, self.use(element, artifact)))
            found = stack((found, fitter.use(element, artifact)))
        return found

    def use(self, element: Element, artifact: Artifact | None) -> Intervention:
        """The intervention of one element."""
        method = element.method
        fitted = artifact.path if artifact else _empty_folder(os.getpid())
        use = Use(self.behavior, element.direction, element.strength, fitted)
        with foreign(f"{element.name}.intervene"):
            made: object = method.intervene(use)
        if isinstance(made, Intervention):
            return made
        if not isinstance(made, AbstractContextManager):
            raise CompareError(f"{element.name}.intervene returned {type(made).__name__}, not an Intervention.")
        parts = {
            "fit": artifact.key if artifact else self._parts(element.name, method, element.direction, Intervention()),
            "settings": {key: str(value) for key, value in method.settings().items()},
            "use": [self.behavior.digest, element.direction, element.strength],
        }
        # A context manager may be good for one use, and a cell opens one for each evaluation.
        return Intervention(context=Context(lambda lm: method.intervene(use), json_digest(parts)))  # type: ignore[arg-type, return-value]

    def fitted(self, element: Element, below: Intervention) -> Artifact | None:
        """The element's artifact, fitted now unless the store has it; None for a method that fits nothing."""
        method = element.method.under(self.measure)
        if method.fits == "never":
            return None
        direction: Direction = element.direction if method.fits == "direction" else "pos"
        below, work = below if "below" in method.needs else Intervention(), self.lm.meter.work

        def run(out: Path) -> None:
            siblings, neutral, mark = self._siblings(method), self._neutral(method), self.lm.mark()
            seed, scratch = self._seed(method), scratch_of(out)
            given = (self.lm, self.behavior, siblings, direction, seed, below, out, scratch, self.measure)
            fit = Fit(*given, neutral=neutral)
            if work is not None:
                work.begins(self._seconds(method, work))
            with preserved(self.lm.model):
                with foreign(f"the fit of {element.name}"):
                    method.fit(fit)
                if self.lm.mark() != mark:
                    raise CompareError(f"the fit of {element.name} changed the model or its tokenizer: leave it out.")

        parts = self._parts(element.name, method, direction, below)
        artifact = self.store.get(f"{element.name}-{self.behavior.name}", parts, run)
        if work is not None:
            work.fitted(artifact.key, artifact.reused, partial(self._seconds, method, work))
        return artifact

    def _seconds(self, method: Method, work: Work) -> float:
        """What a fit is expected to take."""
        tokens, steps = self.pass_tokens(method), steps_of(len(self.behavior.train))
        return method.fit_passes() * work.costs.seconds(steps, tokens, trained=tokens)

    def _seed(self, method: Method) -> int:
        return self.seed if method.seeded or self.fixed is None else self.fixed

    def _siblings(self, method: Method) -> Mapping[str, Behavior]:
        return self.siblings if "siblings" in method.needs else {}

    def _neutral(self, method: Method) -> Sequence[Item]:
        return self.neutral if "neutral" in method.needs else ()

    def _parts(self, name: str, method: Method, direction: Direction, below: Intervention) -> dict[str, Any]:
        """Everything that can change what a fit writes, as JSON values."""
        neutral = self._neutral(method)
        return {
            "model": self.lm.digest,
            "device": self.lm.device.type,
            "method": name,
            "code": source_digest(type(method)),
            "settings": {key: str(value) for key, value in method.fit_settings().items()},
            "behavior": self.behavior.digest,
            "siblings": {key: sibling.digest for key, sibling in sorted(self._siblings(method).items())},
            **({"neutral": json_digest([*map(asdict, neutral)])} if neutral else {}),
            "direction": direction,
            "below": below.digest,
            "seed": self._seed(method),
            "measure": self.measure,
            "versions": {package: package_version(package) for package in PACKAGES},
        }


@cache
def _empty_folder(process: int) -> Path:
    """The folder of a method that fits nothing, gone when the process ends."""
    folder = Path(mkdtemp(prefix="compare-"))
    folder.chmod(0o500)

    def remove() -> None:
        if os.getpid() == process:  # a fork has a folder of its own
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@cache
def source_digest(cls: type[Method]) -> str:
    """Hash of the files that define a method and its bases, of their private neighbours and of the helpers for methods.

    So an edited plugin meets no old artifact.
    """
    files = {Path(inspect.getfile(base)) for base in cls.__mro__ if issubclass(base, Method) and base is not Method}
    helpers = Path(inspect.getfile(Method)).parent
    neighbours = {path for folder in (helpers, *(file.parent for file in files)) for path in folder.glob("_*.py")}
    neighbours |= {helpers / f"{name}.py" for name in ("recipes", "training", "vectors")}
    return json_digest({path.name: file_digest(path) for path in sorted(files | neighbours)})


def on_one_text(method: Method, measure: Measure) -> bool:
    """Whether a fit's pass is over one of a pair's two texts: where these are measured, what fits a direction."""
    return measure == "answers" and method.fits == "direction"


def fitter_of(plan: Plan, behavior: str, lm: LM, store: Store) -> Fitter:
    """Where a behavior's methods are fitted on a model, by the run's first seed."""
    siblings = {name: each for name, each in plan.behaviors.items() if name != behavior}
    data = plan.behaviors[behavior]
    fitter = Fitter(lm, data, siblings, store, plan.spec.seed, plan.measure, neutral=plan.neutral)
    return again(fitter, plan, plan.spec.seed)


def again(fitter: Fitter, plan: Plan, seed: int) -> Fitter:
    """The same by another seed."""
    return fitter.again(seed, plan.spec.resample == "pairs", plan.behaviors[fitter.behavior.name].train)
