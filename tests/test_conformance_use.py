"""Conformance of what a method makes: interventions, doses, candidates and adapters."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from comparisons.method import Edit, Fit, Intervention, Method, Use, check_method
from comparisons.method.checks import BLOCKS, WIDTH
from tests.test_conformance import Fits, Sound, failures, fit_and, unsound


def vector_of(use: Use) -> torch.Tensor:
    return load_file(use.fitted / "vector.safetensors")["vector"]


def edit(self: Any, use: Use, **other: Any) -> Intervention:
    values = {"layer": self.layer, "vector": vector_of(use), "multiplier": use.signed, **other}
    return Intervention(edits=(Edit(**values),))


@pytest.mark.parametrize(
    ("intervene", "message"),
    [
        (
            lambda self, use: edit(self, use, layer=self.layer + 1),
            f"an edit's layer must be from 0 to {BLOCKS - 1} on this model, not {BLOCKS}",
        ),
        (
            lambda self, use: edit(self, use, vector=vector_of(use)[:3]),
            f"an edit's vector must have the model's width {WIDTH}, not 3",
        ),
        (
            lambda self, use: edit(self, use, vector=vector_of(use) / 0),
            "an edit's vector must be finite",
        ),
        (
            lambda self, use: edit(self, use, vector=vector_of(use) + torch.rand(WIDTH)),
            "intervene gives another intervention when it is called again",
        ),
        (lambda self, use: edit(self, use, multiplier=1.0), "strength 0 must change nothing"),
        (
            lambda self, use: Intervention(edits=(Edit(0, torch.ones(WIDTH), multiplier=use.signed),)),
            "intervene reads nothing that fit wrote: read use.fitted, or set fits = 'never'",
        ),
        (lambda self, use: None, "intervene (pos) failed: it must return an Intervention, not NoneType"),
        (
            lambda self, use: (use.fitted / "log.txt").write_text("x") and edit(self, use),
            "intervene wrote to a folder: it may only read use.fitted",
        ),
    ],
)
def test_an_intervention_is_sound(intervene: Any, message: str) -> None:
    assert message in failures(unsound(intervene=intervene))


def test_an_intervention_rests_on_the_files_of_the_fit_alone() -> None:
    kept: dict[str, Any] = {}

    def remember(fit: Fit) -> None:
        kept["vector"], kept["path"] = torch.ones(WIDTH), fit.out

    def from_memory(self: Any, use: Use) -> Intervention:
        return Intervention(edits=(Edit(self.layer, kept["vector"], multiplier=use.signed),))

    def from_old_path(self: Any, use: Use) -> Intervention:
        return edit(self, replace(use, fitted=kept["path"]))

    remembering = vars(fit_and(remember))["fit"]
    assert failures(unsound(fit=remembering, intervene=from_memory)) == [
        "intervene reads nothing that fit wrote: read use.fitted, or set fits = 'never'"
    ]
    assert "intervene (pos) failed: " in failures(unsound(fit=remembering, intervene=from_old_path))[0]


@dataclass(frozen=True)
class Prompt(Method):
    """Ask."""

    dosed: ClassVar[bool] = False
    fits: ClassVar[Fits] = "never"

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=f"{use.direction} {use.strength}")


def test_a_method_without_a_dose_ignores_the_strength() -> None:
    assert failures(Prompt) == ["dosed = False, but the strength changes the intervention"]


def test_candidates_are_of_the_class_and_leave_nothing_open() -> None:
    assert failures(unsound(candidates=lambda self, blocks: [Sound(layer=0)])) == [
        "candidates must be of the class itself, not Sound"
    ]
    assert failures(unsound(candidates=lambda self, blocks: [self])) == [
        "a candidate must leave nothing open: its own candidates must be empty"
    ]
    assert failures(unsound(candidates=lambda self, blocks: 1 / 0)) == [
        "candidates failed: ZeroDivisionError: division by zero"
    ]
    too_deep = unsound(
        candidates=lambda self, blocks: (
            [replace(self, layer=layer) for layer in range(blocks + 1)] if self.layer == "auto" else ()
        )
    )
    assert failures(too_deep) == [f"an edit's layer must be from 0 to {BLOCKS - 1} on this model, not {BLOCKS}"]


def adapter_method(folder: str, *, adapts: bool = True, config: bool = True) -> type[Method]:
    """A method whose fit writes an adapter's folder and whose intervention names one."""

    def fit(self: Any, fit: Fit) -> None:
        (fit.out / "adapter").mkdir()
        save_file({"a": torch.ones(2)}, fit.out / "adapter" / "adapter_model.safetensors")
        if config:
            (fit.out / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))

    def intervene(self: Any, use: Use) -> Intervention:
        return Intervention(adapter=use.fitted / folder, adapter_scale=use.strength)

    return unsound(fit=fit, intervene=intervene, adapts=adapts)


def test_an_adapter_lies_in_the_fitted_folder_and_is_declared() -> None:
    check_method(adapter_method("adapter"))
    assert failures(adapter_method("adapter", adapts=False)) == [
        "its intervention carries an adapter, of which a stack can hold one: set adapts = True"
    ]
    assert failures(adapter_method("adapter", config=False)) == [
        "the adapter adapter in use.fitted has no adapter_config.json"
    ]
    assert any("must lie in use.fitted" in line for line in failures(adapter_method("../other")))
