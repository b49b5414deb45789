"""Behaviors pooled: the random-effects mean against statsmodels' numbers, and what a report says of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy.stats import t as student

from comparisons.evaluation.pooling import pooled as over_behaviors
from comparisons.results.folder import read_summary
from comparisons.results.schema import Contrast
from comparisons.results.summary import SummaryRow
from comparisons.stats import pooled
from tests.made_runs import against, baseline, cell, make_run, report

SEVEN = [0.02, 0.25, 0.31, 0.18, 0.1, 0.29, 0.07], [0.08, 0.09, 0.07, 0.1, 0.08, 0.06, 0.09]
FIVE = [0.12, 0.31, -0.05, 0.22, 0.18], [0.05, 0.06, 0.04, 0.09, 0.03]


@pytest.mark.parametrize(
    ("data", "tau", "mean", "interval"),
    [
        (FIVE, 0.12435190613961082, 0.14928244569569843, (-0.01959877, 0.31816366)),
        (SEVEN, 0.08460235423923783, 0.18133202459142334, (0.0732749, 0.28938915)),
    ],
)
def test_the_mean_and_its_interval_are_those_of_statsmodels(
    data: tuple[list[float], list[float]], tau: float, mean: float, interval: tuple[float, float]
) -> None:
    """What its 0.15.0 gives by combine_effects(…, method_re="iterated", use_t=True), the Hartung-Knapp row."""
    found = pooled(*data)
    assert found is not None and found.count == len(data[0])
    assert (found.tau, found.mean) == pytest.approx((tau, mean), abs=1e-7)
    assert found.interval == pytest.approx(interval, abs=1e-7)
    error = (found.interval.high - found.mean) / student.ppf(0.975, len(data[0]) - 1)
    half = student.ppf(0.975, len(data[0]) - 2) * math.hypot(error, tau)
    assert found.prediction == pytest.approx((mean - half, mean + half), abs=1e-6)


def test_effects_nearer_to_each_other_than_their_errors_are_not_surer_than_these() -> None:
    found = pooled([0.10, 0.11, 0.12], [0.1, 0.1, 0.1])
    assert found is not None and found.tau == 0
    half = student.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert found.interval == pytest.approx((0.11 - half, 0.11 + half))
    alike = pooled([0.1] * 4, [1e-9] * 4)
    assert alike is not None and alike.tau == 0 and alike.interval == pytest.approx((0.1, 0.1), abs=1e-8)


def test_of_two_behaviors_nothing_is_pooled_and_errors_are_above_0() -> None:
    assert pooled([0.1, 0.2], [0.1, 0.1]) is None
    with pytest.raises(ValueError, match="above 0"):
        pooled([0.1, 0.2, 0.3], [0.1, 0.0, 0.1])


def test_intervals_hold_the_mean_and_the_next_behavior() -> None:
    random, held = np.random.default_rng(0), np.zeros(2)
    for _ in range(400):
        errors = random.uniform(0.02, 0.08, 5)
        effects = 0.1 + random.normal(0, 0.1, 5) + random.normal(0, errors)
        found = pooled(effects.tolist(), errors.tolist())
        assert found is not None
        held += [
            found.interval.low <= 0.1 <= found.interval.high,
            found.prediction.low <= 0.1 + random.normal(0, 0.1) <= found.prediction.high,
        ]
    assert (held / 400 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)).all()


def made() -> tuple[list[SummaryRow], list[Contrast]]:
    """Four behaviors: sft is ahead of caa but for the last, where it is surely behind; and a third method in two."""
    rows, contrasts = list[SummaryRow](), list[Contrast]()
    for number, (caa, sft) in enumerate([(0.1, 0.3), (0.12, 0.28), (0.08, 0.33), (0.3, 0.1)]):
        name = f"b{number}"

        def of(method: str, shift: float, name: str = name) -> SummaryRow:
            row = cell(
                method, "neg", -shift, shift_error=0.02, n_clusters=50, shift_band=[-shift - 0.05, -shift + 0.05]
            )
            return replace(row, behavior=name, cell=f"{name}/{method}/neg/1")

        some = [of("caa", caa), of("sft", sft), *([of("dpo", 0.2)] if number < 2 else [])]
        rows += [replace(baseline(), behavior=name, cell=f"{name}/baseline"), *some]
        pair = against("sft", "caa", round(sft - caa, 3), "better" if sft > caa else "worse")
        ends = [sft - caa - 0.04, sft - caa + 0.04]
        places = {"a": f"{name}/sft/neg/1", "b": f"{name}/caa/neg/1", "behavior": name, "direction": "neg"}
        contrasts.append(cast(Contrast, {**pair, **places, "error": 0.02, "simultaneous_ci": ends}))
    return rows, contrasts


def test_methods_and_contrasts_are_pooled_towards_the_direction_asked_for() -> None:
    rows, contrasts = made()
    caa, sft, pair = over_behaviors(rows, contrasts)
    expected = pooled([0.1, 0.12, 0.08, 0.3], [0.02] * 4)
    assert expected is not None
    assert (caa["name"], caa["against"], caa["direction"], caa["n_behaviors"]) == ("caa", None, "neg", 4)
    assert (caa["mean"], caa["tau"]) == pytest.approx((expected.mean, expected.tau))
    assert caa["ci"] == pytest.approx(expected.interval) and caa["prediction"] == pytest.approx(expected.prediction)
    wider = pooled([0.1, 0.12, 0.08, 0.3], [0.02] * 4, level=0.975)  # two methods in this direction
    assert wider is not None and caa["simultaneous_ci"] == pytest.approx(wider.interval)
    assert (sft["name"], sft["turns"], sft["turns_surely"]) == ("sft", [], [])
    assert (pair["name"], pair["against"], pair["turns"], pair["turns_surely"]) == ("sft", "caa", ["b3"], ["b3"])
    # A behavior of five templates has no standard error worth the name.
    few = [replace(row, n_clusters=5) if row.behavior == "b0" and row.n_clusters else row for row in rows]
    assert [each["n_behaviors"] for each in over_behaviors(few, [])] == [3, 3]
    assert over_behaviors([row for row in rows if row.behavior in ("b0", "b1")], contrasts[:2]) == []


def test_the_report_says_where_the_order_turns(tmp_path: Path) -> None:
    rows, contrasts = made()
    run = make_run(tmp_path, rows, contrasts=contrasts)
    summary = read_summary(run)
    assert not summary.pooled
    found = over_behaviors(rows, contrasts)
    text = report(make_run(tmp_path / "with", rows, contrasts=contrasts, pooled=found))
    assert "## Over all behaviors" in text
    assert "- Towards neg, sft is ahead of caa in the mean, and surely behind for b3." in text
    assert f"| caa | neg | 4 | +{found[0]['mean']:.3f} [" in text
