"""The numerical noise of p_match: measured, told of 16 bits, and never ignored by an interval."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

import comparisons
from comparisons import stats
from comparisons.engine.noise import in_float32
from comparisons.evaluation import noise as module
from comparisons.evaluation.measures import Paired
from comparisons.evaluation.noise import numerical_noise, shared_deviation
from comparisons.evaluations.choices import label_shifts
from comparisons.experiment.fitting import Fitter
from comparisons.model.lm import LM
from comparisons.results.schema import Noise
from comparisons.util.artifacts import Store
from tests.tiny import tiny_behavior, tiny_lm

DRAWS = 300


def fitter(lm: LM, folder: Path) -> Fitter:
    return Fitter(lm, tiny_behavior(96), {}, Store(folder), 0, "answers")


def coarse(dtype: torch.dtype = torch.bfloat16) -> LM:
    lm = tiny_lm(initializer_range=0.2, num_hidden_layers=4)
    lm.model.to(dtype)
    return lm


def p_match(model: Any, lm: LM, question: str, texts: tuple[str, ...]) -> float:
    """By plain transformers code, one pass an answer."""
    start, means = len(lm.tokenize(lm.prompt(question))), []
    for text in texts:
        ids = torch.tensor([lm.tokenize(f"{lm.prompt(question)} {text}")])
        with torch.no_grad():
            hidden = model.model(ids).last_hidden_state[0, start - 1 : -1].float()
            logps = (hidden @ model.lm_head.weight.float().T).log_softmax(-1)
        means.append(float(logps.gather(-1, ids[0, start:, None]).mean()))
    return 1 / (1 + float(np.exp(means[1] - means[0])))


def test_it_is_the_distance_from_a_float32_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTIONS", 1000)
    lm = coarse()
    where = fitter(lm, tmp_path)
    found = numerical_noise(where, ("answers",))
    copied = deepcopy(lm.model).float()
    items = where.behavior.train
    differences = [
        abs(p_match(lm.model, lm, item.stem, item.texts) - p_match(copied, lm, item.stem, item.texts)) for item in items
    ]
    assert found is not None
    assert (found["dtype"], found["against"], found["n_items"]) == ("bfloat16", "float32", len(items))
    assert found["largest"] > 1e-4
    # Packed and one by one, 16 bits round differently.
    assert found["mean"] == pytest.approx(np.mean(differences), rel=0.25)
    assert found["largest"] == pytest.approx(max(differences), rel=0.6)


def test_it_is_measured_once_and_by_rounding_where_float32_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = coarse()
    against_float32 = numerical_noise(fitter(lm, tmp_path), ("answers",))
    monkeypatch.setattr(module, "can_widen", lambda lm: False)
    found = numerical_noise(fitter(lm, tmp_path), ("answers",))
    assert found is not None and against_float32 is not None
    assert found["against"] == "rounding"
    assert 0.5 < found["mean"] / against_float32["mean"] < 4
    monkeypatch.setattr(module, "choice_logps", None)
    assert numerical_noise(fitter(lm, tmp_path), ("answers",)) == found


def test_float32_has_none(tmp_path: Path) -> None:
    assert numerical_noise(fitter(tiny_lm(), tmp_path), ("answers",)) is None
    assert not list(tmp_path.iterdir())


def test_the_weights_are_what_they_were() -> None:
    lm = coarse()
    before, mark = {n: (p, p.data_ptr()) for n, p in lm.model.named_parameters()}, lm.mark()
    with pytest.raises(ValueError, match="stop"), in_float32(lm.model):
        assert lm.model.dtype == torch.float32
        raise ValueError("stop")
    assert lm.mark() == mark
    assert all(before[n][0] is p and before[n][1] == p.data_ptr() for n, p in lm.model.named_parameters())
    assert lm.model.dtype == torch.bfloat16


def test_what_items_share_is_told_from_what_each_has() -> None:
    generator = np.random.default_rng(0)
    own = generator.normal(0, 0.02, (400, 24))
    assert shared_deviation(own) < 0.002
    assert shared_deviation(own + generator.normal(0, 0.01, (400, 1))) == pytest.approx(0.01, rel=0.15)
    assert shared_deviation(own[:0]) == 0.0


def noise(**values: Any) -> Noise:
    found: Noise = {
        "dtype": "bfloat16", "against": "float32", "n_items": 24, "mean": 0.02, "largest": 0.08,
        "level": 0.0, "shift": 0.0, "content_shift": 0.0,
    }  # fmt: skip
    return {**found, **values}  # type: ignore[typeddict-item]


def coverage(error: Callable[[np.random.Generator], Any], known: Noise | None) -> float:
    """How often the interval of a shift of 40 items covers the true one, whose items are measured with errors."""
    generator, covered = np.random.default_rng(1), 0
    for draw in range(DRAWS):
        true = generator.normal(0.05, 0.05, 40)
        difference = true + error(generator)
        pair = Paired((), difference, difference, difference, difference, None, known)
        low, high = pair.interval(draw) or (np.nan, np.nan)
        covered += bool(low <= 0.05 <= high)
    return covered / DRAWS


def test_an_interval_has_each_items_own_noise_in_its_spread_already() -> None:
    """As large as the items' true differences, with nothing added."""
    assert coverage(lambda generator: generator.normal(0, 0.05, 40), None) > 0.92


def test_an_interval_does_not_ignore_the_noise_that_items_share() -> None:
    def shared(generator: np.random.Generator) -> Any:
        return generator.normal(0, 0.015)

    assert coverage(shared, None) < 0.85
    assert coverage(shared, noise(shift=0.015)) > 0.92


def test_a_shared_error_widens_each_side_in_quadrature() -> None:
    found = stats.SharedError(0.1 / 1.959964).widened(stats.Interval(0.1, 0.5), 0.2)
    assert found.low == pytest.approx(0.2 - np.sqrt(0.02))
    assert found.high == pytest.approx(0.2 + np.sqrt(0.1))
    assert stats.NO_ERROR.widened(stats.Interval(0.1, 0.5), 0.2) == (0.1, 0.5)


def test_p_values_costs_and_labels_count_it_too() -> None:
    difference = np.random.default_rng(2).normal(0.05, 0.1, 80)
    loud, still = (
        Paired((), difference, difference, difference, difference, None, n) for n in (noise(shift=0.02), None)
    )
    normal, mean = NormalDist(), float(difference.mean())
    error = np.hypot(mean / normal.inv_cdf(1 - 0.01 / 2), 0.02)
    assert loud.p_value(0.01) == pytest.approx(2 * normal.cdf(-mean / error), abs=1e-9) and still.p_value(0.01) == 0.01
    over = np.hypot(0.1, normal.inv_cdf(0.95) * 0.02)
    assert loud.cost_bound(-mean + 0.1) == pytest.approx(-mean + over) and still.cost_bound(-mean + 0.1) == -mean + 0.1
    items = tuple(map(str, range(80)))
    labels = {item: "even" if int(item) % 2 == 0 else "odd" for item in items}
    wide, narrow = (label_shifts(replace(pair, items=items), labels, 0) for pair in (loud, still))
    for label in ("even", "odd"):
        centre, ends, inner = wide["labels"][label]["shift"], wide["labels"][label]["ci"], narrow["labels"][label]["ci"]
        for end, within in zip(ends, inner, strict=True):
            assert abs(end - centre) == pytest.approx(np.hypot(within - centre, 1.959964 * 0.02), rel=1e-6)
    assert wide["label_differences"] == narrow["label_differences"]


@pytest.mark.slow
def test_a_run_in_16_bits_states_it_and_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {
        "behavior": "refusal", "methods": "caa", "layer": 2, "test_items": 12, "train_items": 20, "knowledge": "none",
        "directions": "pos",
    }  # fmt: skip
    plain = comparisons.run(**options, out=tmp_path / "float32")
    assert all(row.numerical_noise is None for row in plain.rows)
    assert "umerical noise" not in (plain.path / "report.md").read_text()
    half = comparisons.run(**options, dtype="bfloat16", out=tmp_path / "bfloat16")
    baseline, cell = half.rows
    assert baseline.numerical_noise is not None and baseline.numerical_noise == cell.numerical_noise
    stated = f"{baseline.numerical_noise['mean']:.2g} in the mean and {baseline.numerical_noise['largest']:.2g} at most"
    assert stated in (half.path / "report.md").read_text()
    assert not cell.warnings or "numerical noise" not in cell.warnings[0]

    monkeypatch.setattr("comparisons.evaluations.choices.numerical_noise", lambda *given: noise(mean=0.9, shift=0.2))
    loud = comparisons.run(**options, dtype="bfloat16", out=tmp_path / "loud").rows[1]
    assert loud.shift == cell.shift and loud.shift is not None
    assert loud.shift_ci is not None and loud.shift_ci[0] < loud.shift - 0.39 and loud.shift_ci[1] > loud.shift + 0.39
    assert "within the numerical noise" in loud.warnings[0]
