"""The controls: they keep to the interface, and do what their name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comparisons.intervention import Intervention
from comparisons.method import Fit, Method, Use, check_method
from comparisons.method.registry import Registry
from comparisons.method.settings import parse_settings
from tests.tiny import tiny_behavior, tiny_lm

CONTROLS = ("random_vector", "caa_shuffled", "sft_shuffled", "neutral_prompt")


def fitted(name: str, out: Path, seed: int = 0, **settings: str) -> tuple[Method, Path]:
    method = parse_settings(Registry().get(name), settings)
    out.mkdir(parents=True)
    method.fit(Fit(tiny_lm(), tiny_behavior(), {}, "pos", seed, Intervention(), out))
    return method, out


def vector(name: str, out: Path, seed: int = 0) -> torch.Tensor:
    method, folder = fitted(name, out, seed, layer="2")
    (edit,) = method.intervene(Use(tiny_behavior(), "pos", 1.0, folder)).edits
    return edit.vector


@pytest.mark.parametrize("name", CONTROLS)
def test_it_passes_the_conformance_suite_as_a_control(name: str) -> None:
    assert Registry().get(name).role == "control"
    check_method(Registry().get(name))


def test_a_random_vector_has_the_norm_and_nothing_else(tmp_path: Path) -> None:
    caa, first, again = (vector(n, tmp_path / str(i)) for i, n in enumerate(["caa", *["random_vector"] * 2]))
    other = vector("random_vector", tmp_path / "other", seed=1)
    torch.testing.assert_close(first.norm(), caa.norm())
    assert torch.equal(first, again)
    assert abs(torch.cosine_similarity(first, caa, dim=0)) < 0.5
    assert abs(torch.cosine_similarity(first, other, dim=0)) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffling_turns_half_of_the_pairs_around(seed: int, tmp_path: Path) -> None:
    from comparisons.method import shuffled

    behavior = tiny_behavior(17)
    fit = Fit(tiny_lm(), behavior, {}, "pos", seed, Intervention(), tmp_path)
    turned = shuffled(fit).behavior.train
    assert turned == shuffled(fit).behavior.train != shuffled(replace(fit, seed=seed + 1)).behavior.train
    flipped = [
        a for a, b in zip(behavior.train, turned, strict=True) if (a.matching, a.contrast) != (b.matching, b.contrast)
    ]
    assert len(flipped) == 8
    assert all(
        (b.matching, b.contrast) in ((a.matching, a.contrast), (a.contrast, a.matching))
        for a, b in zip(behavior.train, turned, strict=True)
    )


def test_shuffled_fits_are_fits_on_the_turned_pairs(tmp_path: Path) -> None:
    assert not torch.allclose(vector("caa_shuffled", tmp_path / "a"), vector("caa", tmp_path / "b"))
    assert torch.equal(vector("caa_shuffled", tmp_path / "c"), vector("caa_shuffled", tmp_path / "d"))


def test_a_neutral_prompt_is_as_long_as_the_behaviors(tmp_path: Path) -> None:
    lm = tiny_lm()
    method, folder = fitted("neutral_prompt", tmp_path / "own")
    text = method.intervene(Use(tiny_behavior(), "pos", 1.0, folder)).system
    wanted = tiny_behavior().system_prompt("pos")
    assert text is not None and text != wanted
    assert abs(len(lm.tokenize(text)) - len(lm.tokenize(wanted))) <= 2
    given = replace(tiny_behavior(), neutral=("Read.", "You read with the user."))
    (tmp_path / "given").mkdir()
    method.fit(Fit(lm, given, {}, "pos", 0, Intervention(), tmp_path / "given"))
    assert method.intervene(Use(given, "pos", 1.0, tmp_path / "given")).system == given.neutral[1]
