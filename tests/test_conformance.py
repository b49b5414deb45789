from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from comparisons.method import Edit, Fit, Intervention, Method, Use, check_method, use_only
from comparisons.method.registry import Registry
from comparisons.util.errors import CompareError

Fits = Literal["direction", "behavior", "never"]


@dataclass(frozen=True)
class Sound(Method):
    """Add a vector that fit wrote.

    Each unsound method below differs from this one in one thing.
    """

    layer: int | Literal["auto"] = use_only("auto")
    scale: float = 1.0

    fits: ClassVar[Fits] = "behavior"

    def candidates(self, blocks: int) -> Sequence[Sound]:
        return [replace(self, layer=layer) for layer in range(blocks)] if self.layer == "auto" else ()

    def fit(self, fit: Fit) -> None:
        save_file({"vector": torch.ones(fit.lm.width) * self.scale}, fit.out / "vector.safetensors")

    def intervene(self, use: Use) -> Intervention:
        assert self.layer != "auto"
        vector = load_file(use.fitted / "vector.safetensors")["vector"]
        return Intervention(edits=(Edit(self.layer, vector, multiplier=use.signed),))


def failures(cls: Any) -> list[str]:
    """What the suite finds, a line each."""
    with pytest.raises(CompareError) as error:
        check_method(cls)
    first, *lines = str(error.value).split("\n- ")
    assert first == f"{cls.__name__} is not a sound method:"
    return lines


def unsound(**members: Any) -> type[Method]:
    """`Sound` with other members."""
    namespace = {"__doc__": "Unsound.", "__module__": __name__, **members}
    return dataclass(frozen=True)(type("Unsound", (Sound,), namespace))


def test_a_sound_method_passes_and_leaves_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random_state = torch.get_rng_state()

    check_method(Sound)

    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("name", ["caa", "sysprompt"])
def test_our_own_methods_pass(name: str) -> None:
    check_method(Registry().get(name))


def test_controls_and_methods_that_fit_a_direction_pass() -> None:
    check_method(unsound(role="control", fits="direction"))


def test_what_a_class_declares() -> None:
    assert failures(int) == ["it must be a subclass of comparisons.method.Method"]
    assert failures(unsound(role="judge")) == ["role must be 'method' or 'control', not 'judge'"]
    assert failures(unsound(fits="once")) == ["fits must be 'direction', 'behavior' or 'never', not 'once'"]
    assert failures(unsound(dosed="yes")) == ["dosed must be True or False, not 'yes'"]
    assert failures(unsound(adapts=1)) == ["adapts must be True or False, not 1"]
    assert failures(unsound(__doc__=None)) == ["it must have a docstring, whose first line `compare methods` shows"]
    assert failures(unsound(fits="never")) == [
        "fits = 'never' says that its fit is never called: leave fit out, or say what it fits"
    ]
    assert failures(unsound(fit=Method.fit)) == [
        "fits = 'behavior', but it has no fit: write one, or set fits = 'never'"
    ]


def test_it_is_a_concrete_frozen_dataclass() -> None:
    @dataclass(frozen=True)
    class Abstract(Method):
        """Does nothing."""

        fits: ClassVar[Fits] = "never"

    class Bare(Sound):
        """Has no decorator."""

    assert failures(Abstract) == ["it must be concrete: intervene is missing"]
    assert failures(Bare) == ["it must be a frozen dataclass: write @dataclass(frozen=True) above it"]


def test_settings_have_defaults_and_types_that_a_text_can_stand_for() -> None:
    @dataclass(frozen=True)
    class Needy(Sound):
        """Has no default."""

        count: int = field(kw_only=True)

    assert failures(Needy) == ["setting 'count' must have a default"]
    assert (
        "setting 'many' of Unsound has type list[int]"
        in failures(unsound(__annotations__={"many": "list[int]"}, many=None))[0]
    )
    assert failures(unsound(__annotations__={"count": "int"}, count=1.0)) == [
        "the default of setting 'count' does not fit its type: test_conformance.count='1.0' is not valid: "
        "use an integer."
    ]
    assert failures(unsound(__annotations__={"share": "float"}, share=1)) == [
        "the default 1 of setting 'share' reads back as 1.0"
    ]
    assert failures(unsound(__annotations__={"strength": "float"}, strength=1.0)) == [
        "a setting can't be called 'strength': the run's strength is use.strength"
    ]


def test_it_can_be_made_with_its_defaults() -> None:
    def refuse(self: Any) -> None:
        raise ValueError("no")

    assert failures(unsound(__post_init__=refuse)) == ["making it with its defaults failed: ValueError: no"]


def test_every_failure_has_its_line() -> None:
    assert failures(unsound(role="judge", dosed=None, __doc__="")) == [
        "it must have a docstring, whose first line `compare methods` shows",
        "role must be 'method' or 'control', not 'judge'",
        "dosed must be True or False, not None",
    ]


def fit_and(change: Any) -> type[Method]:
    """A method whose fit does one thing more."""

    def fit(self: Sound, fit: Fit) -> None:
        Sound.fit(self, fit)
        change(fit)

    return unsound(fit=fit)


def write_beside(fit: Fit) -> None:
    (fit.out.parent / "beside.txt").write_text("x")


def write_here(fit: Fit) -> None:
    Path("log.txt").write_text("x")


def raise_error(fit: Fit) -> None:
    raise ValueError("two\nlines")


def test_a_fit_writes_only_where_it_may() -> None:
    assert failures(fit_and(write_beside)) == ["fit wrote beside.txt, outside of fit.out"]
    assert failures(fit_and(write_here)) == ["fit wrote elsewhere/log.txt, outside of fit.out"]
    assert failures(fit_and(raise_error)) == ["fit (pos) failed: ValueError: two lines"]


def draw(fit: Fit) -> None:
    noise = torch.randn(2, generator=torch.Generator().manual_seed(fit.seed))
    save_file({"noise": noise}, fit.out / "noise.safetensors")


def test_a_method_that_says_it_draws_nothing_fits_the_same_by_two_seeds() -> None:
    drawing = fit_and(draw)
    check_method(drawing)
    assert failures(unsound(fit=drawing.fit, seeded=False)) == [
        "fit writes something else with another seed: leave seeded out, so that --seeds fits it anew"
    ]
    check_method(unsound(seeded=False))


def nudge(fit: Fit) -> None:
    with torch.no_grad():
        fit.lm.model.lm_head.weight += 1e-3


def nudge_and_undo(fit: Fit) -> None:
    weight = fit.lm.model.lm_head.weight
    with torch.no_grad():
        before = weight.clone()
        weight.add_(1.0)
        weight.copy_(before)


def freeze(fit: Fit) -> None:
    fit.lm.model.lm_head.weight.requires_grad_(False)


def leave_gradients(fit: Fit) -> None:
    fit.lm.model(input_ids=torch.tensor([[0, 1, 2]]), labels=torch.tensor([[0, 1, 2]])).loss.backward()


def leave_hook(fit: Fit) -> None:
    fit.lm.blocks[0].register_forward_hook(lambda *arguments: None)


def train_mode(fit: Fit) -> None:
    fit.lm.model.train()


def wrap(fit: Fit) -> None:
    fit.lm.model.lm_head = torch.nn.Sequential(fit.lm.model.lm_head)


def turn_off_cache(fit: Fit) -> None:
    fit.lm.model.config.use_cache = False


def add_pad_token(fit: Fit) -> None:
    fit.lm.tokenizer.pad_token = "</s>"


def pad_left(fit: Fit) -> None:
    fit.lm.tokenizer.padding_side = "left"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (nudge, "parameters"),
        (nudge_and_undo, "parameters"),
        (freeze, "requires_grad flags"),
        (leave_gradients, "gradients"),
        (leave_hook, "hooks"),
        (train_mode, "training mode"),
        (turn_off_cache, "configuration"),
        (add_pad_token, "tokenizer"),
        (pad_left, "tokenizer"),
    ],
)
def test_a_fit_leaves_the_model_as_it_was(change: Any, what: str) -> None:
    assert failures(fit_and(change)) == [f"the model's {what} changed: leave it as it was"]


def test_a_fit_leaves_the_modules_as_they_were() -> None:
    assert "the model's modules changed: leave it as it was" in failures(fit_and(wrap))


def test_a_fit_may_run_the_model_and_tokenize() -> None:
    def run(fit: Fit) -> None:
        ids = fit.lm.tokenizer("a", return_tensors="pt", truncation=True, max_length=8, add_special_tokens=False)[
            "input_ids"
        ]
        with torch.no_grad():
            fit.lm.model(input_ids=ids)

    check_method(fit_and(run))
