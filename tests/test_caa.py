"""caa: the mean difference by plain code, its settings, and its use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comparisons.dataset.behaviors import Behavior
from comparisons.intervention import Intervention
from comparisons.method import Fit, Method, Use, check_method
from comparisons.method.registry import Registry
from comparisons.method.settings import parse_settings
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests import oracle
from tests.tiny import tiny_behavior, tiny_item, tiny_lm


def caa(**settings: str) -> Method:
    return parse_settings(Registry().get("caa"), settings)


def fitted(method: Method, lm: LM, out: Path, below: Intervention | None = None, **siblings: Behavior) -> Path:
    out.mkdir(exist_ok=True)
    method.fit(Fit(lm, tiny_behavior(), siblings, "pos", 0, below or Intervention(), out))
    return out


def vector(method: Method, folder: Path, direction: str = "pos", strength: float = 1.0) -> torch.Tensor:
    (edit,) = method.intervene(Use(tiny_behavior(), direction, strength, folder)).edits  # type: ignore[arg-type]
    return edit.vector * edit.multiplier


def plain_vector(lm: LM, behavior: Behavior, layer: int) -> torch.Tensor:
    total = torch.zeros(lm.width)
    for item in behavior.train:
        for letter, sign in ((item.matching, 1), (item.contrast, -1)):
            ids, _, index = oracle.prompt_ids(lm.tokenizer, item.question, letter)
            total += sign * oracle.activations(lm.model, lm.blocks, ids[: index + 1], index)[layer]
    return total / len(behavior.train)


def test_it_passes_the_conformance_suite() -> None:
    check_method(Registry().get("caa"))


def test_the_vector_is_the_mean_difference_and_the_direction_its_sign(tmp_path: Path) -> None:
    lm = tiny_lm()
    folder = fitted(caa(), lm, tmp_path)
    for layer in range(len(lm.blocks)):
        method = caa(layer=str(layer))
        expected = plain_vector(lm, tiny_behavior(), layer)
        torch.testing.assert_close(vector(method, folder), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(vector(method, folder, "neg", 2.0), -2 * expected, rtol=1e-4, atol=2e-5)


def test_normalizing_gives_the_mean_norm_over_the_behaviors(tmp_path: Path) -> None:
    lm, sibling = tiny_lm(), tiny_behavior(6, "other")
    method = caa(layer="2", normalize="behaviors")
    found = vector(method, fitted(method, lm, tmp_path, other=sibling))
    own, other = plain_vector(lm, tiny_behavior(), 2), plain_vector(lm, sibling, 2)
    assert torch.cosine_similarity(found, own, dim=0).item() == pytest.approx(1, abs=1e-5)
    assert found.norm().item() == pytest.approx((own.norm() + other.norm()).item() / 2, rel=1e-4)


def test_a_vector_fitted_on_the_stack_reads_the_model_with_what_is_below(tmp_path: Path) -> None:
    lm, below = tiny_lm(), Intervention(system="You agree with the user.")
    on_stack = caa(layer="1", fit_on="stack")
    assert on_stack.needs == {"below"} and not caa().needs
    base = vector(caa(layer="1"), fitted(caa(), lm, tmp_path / "base"))
    stacked = vector(on_stack, fitted(on_stack, lm, tmp_path / "stack", below))
    assert (base - stacked).norm() > 0.05 * base.norm()


def test_a_layer_that_is_still_open_is_said(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="still auto"):
        vector(caa(), fitted(caa(), tiny_lm(), tmp_path))
    assert len(caa().candidates(5)) == 5 and not caa(layer="3").candidates(5)


def test_debiasing_takes_the_letters_out_of_the_vector(tmp_path: Path) -> None:
    """On pairs whose matching letter is always A, the plain vector is mostly the letter's."""
    lm, layer = tiny_lm(), 2
    lopsided = replace(tiny_behavior(), train=tuple(tiny_item(i) for i in range(0, 32, 2)))
    assert {item.matching for item in lopsided.train} == {"A"}
    found = {}
    for debias in ("none", "letter"):
        (tmp_path / debias).mkdir()
        method = caa(layer=str(layer), debias=debias)
        method.fit(Fit(lm, lopsided, {}, "pos", 0, Intervention(), tmp_path / debias))
        found[debias] = vector(method, tmp_path / debias)
    # By plain code: both orders of each pair, and the letters' direction over them.
    total, letters = torch.zeros(lm.width), torch.zeros(lm.width)
    for item in lopsided.train:
        for question, matching in ((item.question, "A"), (oracle.swap(item.question), "B")):
            at = {}
            for letter in "AB":
                ids, _, index = oracle.prompt_ids(lm.tokenizer, question, letter)
                at[letter] = oracle.activations(lm.model, lm.blocks, ids[: index + 1], index)[layer]
            total += at[matching] - at["B" if matching == "A" else "A"]
            letters += at["A"] - at["B"]
    mean, unit = total / 32, letters / letters.norm()
    torch.testing.assert_close(found["letter"], mean - (mean @ unit) * unit, rtol=1e-3, atol=1e-4)
    assert abs(torch.cosine_similarity(found["letter"], unit, dim=0)) < 1e-4
    assert torch.cosine_similarity(found["none"], unit, dim=0) > 0.9
