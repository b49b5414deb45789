"""What is checked on the embedded model: the statements hold at a small size, and what is drawn is what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from comparisons.dataset.behaviors import Library
from comparisons.dataset.items import ORDERS
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.questions import questions
from comparisons.evaluations.random_ranks import matched_vectors
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element
from comparisons.intervention import Intervention
from comparisons.method import Fit, read_vectors
from comparisons.method.registry import Registry
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.running.choosing import choose
from comparisons.util.artifacts import Store
from comparisons.util.directions import DIRECTIONS
from tests.validation.doses import Doses, saturation
from tests.validation.onmodel import ModelResults, measure
from tests.validation.planted import biased_head
from tests.validation.record import MODEL_NUMBERS, read_model_results, write_model_results
from tests.validation.shuffles import (
    ISOTROPIC,
    MATCHED,
    null_distances,
    shuffled_vectors,
    uniform_distance,
)
from tests.validation.subjects import ModelSizes, Subject, subject

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parent.parent / "docs"
SMALL = ModelSizes(
    behaviors=("refusal", "sycophancy"),
    shuffles=20,
    randoms=39,
    rank_items=8,
    items=24,
    constants=(2.0,),
    draws=1000,
)


@pytest.fixture(scope="module")
def pocket() -> LM:
    return load(ModelSource(device="cpu"))


@pytest.fixture(scope="module")
def refusal(pocket: LM) -> Subject:
    return subject(pocket, Library.open("pocket").behavior("refusal").with_dev(0))


@pytest.fixture(scope="module")
def small(pocket: LM) -> ModelResults:
    mark = pocket.mark()
    results = measure(pocket, SMALL, lambda text: None)
    assert pocket.mark() == mark
    return results


def test_the_statements_hold_at_a_small_size(small: ModelResults) -> None:
    assert small.missed() == []
    assert small.rising() == ["refusal", "sycophancy"]
    assert {row.p_value >= 0.01 for row in small.uniform if row.among == MATCHED} == {True}
    assert {len(row.p_values) for row in small.ranks} == {20}


def test_shuffled_labels_push_harder_than_directions_uniform_on_the_sphere(small: ModelResults) -> None:
    for row in small.ranks:
        if row.among == ISOTROPIC:
            assert row.spread > 1.2 * row.random_spread and row.true_p == pytest.approx(2 / 40)
        else:
            assert 0.5 < row.spread / row.random_spread < 2


def test_a_planted_constant_is_the_letter_shift_and_never_content(small: ModelResults) -> None:
    for row in small.planted:
        plain = small.unplanted(row)
        assert row.letter - plain.letter == pytest.approx(row.constant, abs=1e-4)
        assert row.content - plain.content == pytest.approx(0, abs=1e-4)
    # On p itself a bias is no mere nuisance term: it takes from the vector's shift.
    for name in small.behaviors:
        shifts = {row.constant: row.shift for row in small.planted if row.steered and row.behavior == name}
        assert max(shifts[2.0], shifts[-2.0]) < shifts[0.0]


def test_vector_shuffles_and_layer_are_those_of_the_methods(refusal: Subject, tmp_path: Path) -> None:
    lm, behavior = refusal.lm, refusal.behavior
    for name, seed, mine in (
        ("caa", 0, refusal.vector),
        ("caa_shuffled", 3, shuffled_vectors(refusal.differences, 4)[3]),
    ):
        out = tmp_path / name
        out.mkdir()
        Registry().get(name)().fit(Fit(lm, behavior, {}, "pos", seed, Intervention(), out))
        torch.testing.assert_close(mine.float(), read_vectors(out)[refusal.layer], rtol=1e-4, atol=1e-5)
    element = Element("caa", Registry().get("caa")(), "pos", 1.0)
    bench = Fitter(lm, behavior, {}, Store(tmp_path / "store"), 0)
    assert choose(bench, element, [], DIRECTIONS, ORDERS, lambda text: None).record["chosen"]["layer"] == refusal.layer


def test_matched_vectors_spread_as_the_differences_do_and_know_nothing_of_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64)
    differences = torch.randn((40, 3), generator=generator, dtype=torch.float64) * scales
    drawn = matched_vectors(differences, 20_000, torch.Generator().manual_seed(0))
    expected = torch.cov(differences.T, correction=0) / len(differences)
    torch.testing.assert_close(torch.cov(drawn.T), expected, rtol=0.05, atol=1e-3)
    moved = matched_vectors(differences + 100.0, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved, drawn, rtol=0, atol=1e-9)
    shuffled = shuffled_vectors(differences, 5)
    torch.testing.assert_close(shuffled_vectors(differences + 100.0, 5), shuffled, rtol=0, atol=1e-9)


def test_among_many_random_vectors_the_null_is_kolmogorovs_and_among_few_it_is_wider() -> None:
    many = np.quantile(null_distances([(30, 9_999)], 4_000, 0), [0.5, 0.95])
    assert many == pytest.approx(scipy_stats.kstwo(30).ppf([0.5, 0.95]), rel=0.04)
    few = np.quantile(null_distances([(60, 199)] * 7, 2_000, 0), 0.95)
    assert 1.05 < few / scipy_stats.kstwo(420).ppf(0.95) < 1.3


def test_the_distance_is_scipys_up_to_the_steps_of_the_ranks() -> None:
    steps = 2 * np.random.default_rng(0).integers(1, 51, 200) / 200
    assert uniform_distance(steps, 199) == pytest.approx(scipy_stats.kstest(steps, "uniform").statistic, abs=0.011)
    assert uniform_distance(np.arange(1, 101) / 100, 199) == pytest.approx(0)


def rows(shifts: list[float], lost: list[float]) -> Doses:
    strengths = (0.25, 0.5, 1.0, 2.0, 4.0)[: len(shifts)]
    around = tuple((shift - 0.02, shift + 0.02) for shift in shifts)
    steps = tuple((low - 0.02, low + 0.02) for low in np.diff([0.0, *shifts]).tolist())
    until = saturation(strengths, shifts, lost)
    return Doses("greeting", "pos", 1, strengths, tuple(shifts), around, steps, tuple(lost), until)


@pytest.mark.parametrize(
    ("shifts", "lost", "until", "rising", "monotone"),
    [
        ([0.05, 0.1, 0.2, 0.15, 0.0], [0.0] * 5, 1.0, 3, True),
        ([0.05, 0.1, 0.2, 0.25, 0.3], [0.0] * 5, 4.0, 5, True),
        ([0.05, 0.1, 0.2, 0.25, 0.3], [0, 0, 0, 0.6, 1], 1.0, 3, True),
        ([0.05, 0.04, 0.2, 0.1, 0.0], [0.0] * 5, 1.0, 1, False),
        ([0.1, 0.2, 0.1, 0.0, 0.0], [0.0] * 5, 0.5, 2, False),
        ([-0.1, -0.2, -0.3, -0.3, -0.4], [0.0] * 5, 0.25, 0, False),
    ],
)
def test_saturation_and_rising(
    shifts: list[float], lost: list[float], until: float, rising: int, monotone: bool
) -> None:
    found = rows(shifts, lost)
    assert (found.until, found.rising, found.monotone) == (until, rising, monotone)


def test_the_bias_is_on_one_logit_and_goes_away(pocket: LM) -> None:
    shown = questions(Library.open("pocket").behavior("refusal").test[:1])[0].shown
    prompt = pocket.choice_prompt(shown.question, (shown.matching, shown.contrast))
    token, mark = prompt.targets[0], pocket.mark()
    logits = pocket.model(torch.tensor([prompt.ids])).logits[0, -1].detach().double()
    logits[token] += 1.5
    expected = logits.log_softmax(-1)[list(prompt.targets)].numpy()
    found = choice_logps(pocket, [shown], [Intervention(context=biased_head(token, 1.5))]).logps[0, 0]
    assert found == pytest.approx(expected, abs=1e-4)
    assert pocket.mark() == mark


def test_statements_that_are_not_kept_are_named(small: ModelResults) -> None:
    uniform = tuple(replace(row, p_value=0.001) for row in small.uniform)
    falling = tuple(replace(row, shifts=(0.2, 0.1, 0.3, 0.0, 0.0)) for row in small.doses)
    leaking = tuple(
        replace(row, content=0.5, content_ci=(0.4, 0.6)) if row.constant > 0 and not row.steered else row
        for row in small.planted
    )
    missed = replace(small, uniform=uniform, doses=falling, planted=leaking).missed()
    assert len(missed) == 2 + 1 + 2
    assert "do not rank uniformly" in missed[0] and "0 of 2 behaviors" in missed[2]
    assert missed[-1] == "sycophancy: +2 on a letter's logit alone moves the content by 0.500000 logits"


def test_what_is_written_is_read_again(small: ModelResults, tmp_path: Path) -> None:
    assert read_model_results(write_model_results(small, tmp_path, 1.0)) == small


def test_the_page_shows_what_was_measured_on_the_model() -> None:
    results = read_model_results(DOCS / "figures" / MODEL_NUMBERS)
    page = (DOCS / "validity.md").read_text(encoding="utf-8")
    assert results.sizes == ModelSizes() and results.missed() == [] and len(results.behaviors) == 7
    for name, table in results.tables().items():
        assert table in page, name
