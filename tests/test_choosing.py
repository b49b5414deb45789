"""Which candidate setting wins on dev."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import ORDERS
from comparisons.engine.choices import ChoiceLogps
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.method import Direction, Fit, Intervention, Method, Use
from comparisons.method.interface import use_only
from comparisons.running.choosing import _winner, choose
from comparisons.util.artifacts import Store
from tests.tiny import tiny_behavior, tiny_lm


@pytest.mark.parametrize(
    ("two_sided", "strong_first", "mild_first"),
    [
        ([0.1, 0.46, 0.5], 2, 1),
        ([0.5, 0.46, 0.1], 1, 0),
        ([0.5, 0.44, 0.1], 0, 0),
        ([0.1, 0.44, 0.5], 2, 2),
        ([np.nan, 0.48, 0.5], 2, 1),
        ([-0.3, -0.1, -0.2], 1, 1),
    ],
)
def test_the_mildest_wins_that_comes_near_the_largest(
    two_sided: list[float], strong_first: int, mild_first: int
) -> None:
    assert _winner(np.array(two_sided), mild_first=False) == strong_first
    assert _winner(np.array(two_sided), mild_first=True) == mild_first


def test_a_single_candidate_is_chosen_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--train-items", "40", "--test-items", "4", "--knowledge", "none", "--out", "out")
    one = ("--set", "sft.epochs=1", "--set", "sft.learning_rate=0.001")
    assert cli(["run", "--behavior", "refusal", "--methods", "sft", *one, *few]) == 0
    choice = json.loads(Path("out/choices.json").read_text())["choices"][0]
    assert choice["chosen"] == {"epoch": 1} and len(choice["trials"]) == 1


def test_an_item_that_is_asked_in_one_order_weighs_as_much_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One item falls in both orders, one rises as given: the shift is above 0 by items, and below it by questions."""
    behavior = tiny_behavior()
    both, one = behavior.train[0], replace(behavior.train[1], choices=(), stem="")
    logits = np.array([[0.0, 0.0, 0.0], [-0.4, -0.4, 0.6]])

    def known(lm: Any, shown: Sequence[Any], tried: Sequence[Any]) -> ChoiceLogps:
        logps = np.stack([-np.logaddexp(0, -logits), -np.logaddexp(0, logits)], axis=-1)
        return ChoiceLogps(logps.astype(np.float32), np.zeros((2, 3), dtype=bool))

    monkeypatch.setattr("comparisons.running.dev.choice_logps", known)
    fitter = Fitter(tiny_lm(), replace(behavior, dev=(both, one)), {}, Store(Path("store")), 0)
    element = Element("prompt", Prompt(), "pos", 1.0)
    record = choose(fitter, element, (), ["pos"], ORDERS, lambda text: None).record
    p = 1 / (1 + np.exp(-logits[1]))
    by_items = np.mean([p[:2].mean(), p[2]]) - 0.5
    assert record["trials"][0]["two_sided"] == pytest.approx(by_items, abs=1e-6)
    assert by_items > 0 > p.mean() - 0.5


@dataclass(frozen=True)
class Prompt(Method):
    """A system prompt that is open."""

    open: bool = True

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "never"

    def candidates(self, blocks: int) -> Sequence[Prompt]:
        return [Prompt(False)] if self.open else ()

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system="Be brief.")


SHIFTS: dict[str, dict[tuple[int, int], float]] = {
    "pos": {(1, 1): 0.1, (1, 2): 0.2, (2, 1): 0.46, (2, 2): 0.5, (3, 1): 0.51, (3, 2): 0.52},
    "neg": {(1, 1): -0.4, (1, 2): -0.4, (2, 1): -0.42, (2, 2): -0.43, (3, 1): -0.2, (3, 2): -0.2},
}
"""By direction, rate and epoch. To pos rate 2 is the lowest that reaches .468, at its second epoch; of both its first
reaches nine tenths of the second."""


@pytest.mark.parametrize("directions", [["pos", "neg"], ["neg"]])
def test_fits_are_searched_in_one_direction_and_the_other_is_fitted_as_the_one_taken(
    directions: list[Direction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(lm: Any, shown: Sequence[Any], tried: Sequence[Intervention]) -> ChoiceLogps:
        p = [0.47 + (SHIFTS[t.system[:3]][int(t.system[4]), int(t.system[6])] if t.system else 0) for t in tried]
        logps = np.log([[[each, 1 - each]] * len(shown) for each in p])
        return ChoiceLogps(logps.astype(np.float32), np.zeros(logps.shape[:2], dtype=bool))

    monkeypatch.setattr("comparisons.running.dev.choice_logps", known)
    behavior = tiny_behavior()
    fitter = Fitter(tiny_lm(), replace(behavior, dev=behavior.train[:1]), {}, Store(tmp_path), 0)
    Trained.made.clear()
    choice = choose(fitter, Element("trained", Trained(), "pos", 1.0), (), directions, ORDERS, lambda text: None)
    if directions == ["neg"]:
        assert choice.method == Trained(1, 1) and not any("only" in trial for trial in choice.record["trials"])
        assert Trained.made == [("neg", 1), ("neg", 2), ("neg", 3)]
        return
    assert choice.method == Trained(2, 1)
    assert [t.get("only") for t in choice.record["trials"]] == ["pos", "pos", None, None, "pos", "pos"]
    assert Trained.made == [("pos", 1), ("pos", 2), ("pos", 3), ("neg", 2)]
    assert [t["shift_pos"] for t in choice.record["trials"]] == pytest.approx(list(SHIFTS["pos"].values()), abs=1e-5)
    assert [t["shift_neg"] for t in choice.record["trials"]] == [None, None, approx(-0.42), approx(-0.43), None, None]
    assert [t["two_sided"] for t in choice.record["trials"]] == [None, None, approx(0.44), approx(0.465), None, None]


def test_a_fit_that_has_no_shift_in_the_other_direction_gives_way_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifts(fitter: Any, element: Any, below: Any, tried: Any, directions: Any, **more: Any) -> Any:
        made = [(each.rate, each.epoch) for each in tried]
        Trained.made.extend((d, rate) for d in directions for rate in dict.fromkeys(rate for rate, _ in made))
        lost = directions == ["neg"] and made[0][0] == 2
        return {d: np.array([np.nan if lost else SHIFTS[d][each] for each in made]) for d in directions}

    monkeypatch.setattr("comparisons.running.choosing._shifts", shifts)
    fitter = Fitter(tiny_lm(), tiny_behavior(), {}, Store(tmp_path), 0)
    Trained.made.clear()
    choice = choose(fitter, Element("trained", Trained(), "pos", 1.0), (), ["pos", "neg"], ORDERS, lambda text: None)
    assert choice.method == Trained(3, 1) and Trained.made[3:] == [("neg", 2), ("neg", 3)]
    assert [t.get("only") for t in choice.record["trials"]] == ["pos", "pos", None, None, None, None]
    assert choice.record["trials"][2]["two_sided"] is None  # tried, and failed


def approx(value: float) -> Any:
    return pytest.approx(value, abs=1e-5)


@dataclass(frozen=True)
class Trained(Method):
    """Each rate is a fit, each epoch a use of it."""

    rate: int | None = None
    epoch: int | None = use_only(None)

    mild_first: ClassVar[bool] = True
    made: ClassVar[list[tuple[str, int | None]]] = []

    def candidates(self, blocks: int) -> Sequence[Trained]:
        return [Trained(rate, epoch) for rate in (1, 2, 3) for epoch in (1, 2)] if self.rate is None else ()

    def fit(self, fit: Fit) -> None:
        self.made.append((fit.direction, self.rate))

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=f"{use.direction} {self.rate} {self.epoch}")
