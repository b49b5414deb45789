"""Where methods are fitted and used: what an artifact is known by, and what a method that fits nothing is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.method import Fit, Intervention, Method, Need, Use
from comparisons.model.lm import LM
from comparisons.util.artifacts import Store
from methods.caa import CAA
from methods.sft import SFT
from tests.tiny import tiny_behavior, tiny_lm


@dataclass(frozen=True)
class Halving(Method):
    """Divide what a block puts out: a change that no data describes."""

    by: float = 2.0

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "never"

    def intervene(self, use: Use) -> Intervention:
        return self.divided(tiny_lm(), use.strength)  # type: ignore[return-value]

    @contextmanager
    def divided(self, lm: LM, strength: float) -> Iterator[None]:
        handle = lm.blocks[0].register_forward_hook(lambda m, a, out: out / (1 + strength * (self.by - 1)))
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class Above(Method):
    """Write what stands below."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"below"})

    def fit(self, fit: Fit) -> None:
        (fit.out / "below.txt").write_text(fit.below.digest)

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=(use.fitted / "below.txt").read_text())


def fitter(tmp_path: Path) -> Fitter:
    return Fitter(tiny_lm(), tiny_behavior(), {}, Store(tmp_path / "store"), 0)


def test_a_fit_above_a_context_manager_meets_no_artifact_of_another(tmp_path: Path) -> None:
    place = fitter(tmp_path)

    def below(*elements: Element) -> str | None:
        return place.build([*elements, Element("above", Above(), "pos", 1.0)]).intervention.system

    halved = [Element("halving", Halving(by), "pos", strength) for by, strength in ((2.0, 1.0), (3.0, 1.0), (2.0, 2.0))]
    written = [below(), *(below(element) for element in halved)]
    assert len(set(written)) == len(written)
    assert below(halved[0]) == written[1]


def test_interventions_differ_by_their_context_managers(tmp_path: Path) -> None:
    place = fitter(tmp_path)
    one, other = (place.build([Element("halving", Halving(by), "pos", 1.0)]).intervention for by in (2.0, 3.0))
    assert len({one.digest, other.digest, Intervention().digest}) == 3
    assert one.digest == place.build([Element("halving", Halving(2.0), "pos", 1.0)]).intervention.digest
    assert one.context is not None and isinstance(one.context.open(place.lm), AbstractContextManager)


@dataclass(frozen=True)
class Listing(Method):
    """Say what is in the folder of the fit."""

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "never"

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=f"{use.fitted.is_dir()}: {sorted(use.fitted.iterdir())}")


def test_a_method_that_fits_nothing_is_given_an_empty_folder_of_its_own(tmp_path: Path) -> None:
    # The working directory is none of its business, and has files.
    assert any(Path.cwd().iterdir())
    assert fitter(tmp_path).build([Element("listing", Listing(), "pos", 1.0)]).intervention.system == "True: []"


def test_what_trains_a_direction_is_counted_with_one_of_two_texts(tmp_path: Path) -> None:
    lm, behavior = tiny_lm(), tiny_behavior()
    fitter = Fitter(lm, behavior, {}, Store(tmp_path / "store"), 0, "answers")
    prompts = sum(len(lm.tokenize(lm.prompt(item.stem))) for item in behavior.train)
    answers = sum(len(lm.tokenize(f" {text}")) for item in behavior.train for text in item.texts or ())
    assert answers > 100
    assert fitter.pass_tokens(SFT()) == pytest.approx(prompts + answers / 2, rel=0.1)
    assert fitter.pass_tokens(CAA()) == pytest.approx(prompts + answers, rel=0.1)
    letters = replace(fitter, measure="letters")
    assert letters.pass_tokens(SFT()) == letters.pass_tokens(CAA())
