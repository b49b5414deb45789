"""What is left of a shift under a condition: shares with intervals, and how the report shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons import stats
from comparisons.evaluation.measures import Paired, repeated
from comparisons.report.robustness import robustness_table
from tests.made_runs import baseline, cell, make_run, report
from tests.places import complaint


def pair(values: np.ndarray, items: tuple[str, ...]) -> Paired:
    return Paired(items, values, values, values, values, None)


def test_a_share_is_given_only_of_a_shift_that_can_be_told_from_0() -> None:
    random = np.random.default_rng(0)
    plain = 0.3 + random.normal(0, 0.1, 40)
    items = tuple(map(str, range(40)))
    half = repeated(pair(plain[1:] / 2, items[1:]), pair(plain, items), [0.2, 0.4], True, 0)
    assert half["survives"] == pytest.approx(0.5) and half["survives_ci"] == pytest.approx([0.5, 0.5])
    assert half["shift"] == pytest.approx(plain[1:].mean() / 2)
    for interval, sound in (([-0.1, 0.4], True), ([0.0, 0.4], True), (None, True), ([0.2, 0.4], False)):
        none = repeated(pair(plain / 2, items), pair(plain, items), interval, sound, 0)
        assert none["survives"] is none["survives_ci"] is None
        assert none["broken"] is not sound


def test_a_share_that_nothing_bounds_is_not_given() -> None:
    """Four items of which one moves: its interval is said to leave out 0, but a draw without it has no ratio."""
    plain, items = np.array([0.4, 0.0, 0.0, 0.0]), tuple("abcd")
    found = repeated(pair(np.array([0.3, 0.1, 0.0, 0.2]), items), pair(plain, items), [0.01, 0.4], True, 0)
    assert found["survives"] is found["survives_ci"] is None
    assert found["shift"] == pytest.approx(0.15)


def test_the_interval_of_a_ratio_covers_it() -> None:
    """400 data sets whose ratio is .8, with noise that both numbers share and noise of their own."""
    random, hits = np.random.default_rng(3), 0
    for seed in range(400):
        shared, own = random.normal(0, 0.2, 50), random.normal(0, 0.1, 50)
        found = stats.ratio_interval(0.24 + 0.8 * shared + own, 0.3 + shared, draws=500, seed=seed)
        assert found is not None and found.low < found.high
        hits += found.low <= 0.8 <= found.high
    assert 0.91 <= hits / 400 <= 0.985


def test_a_ratio_has_an_interval_only_where_something_bounds_it() -> None:
    random = np.random.default_rng(4)
    noise = random.normal(0, 1, 30)
    assert stats.ratio_interval(noise + 0.1, noise - noise.mean() + 0.01) is None
    assert stats.ratio_interval(np.array([0.3]), np.array([0.2])) is None
    assert stats.ratio_interval(noise, np.abs(noise), clusters=["one"] * 30) is None
    exact = stats.ratio_interval(np.array([0.1, 0.2, 0.3]), np.array([-0.2, -0.4, -0.6]))
    assert exact == pytest.approx((-0.5, -0.5))
    values, under = 0.3 + 0.1 * noise, 0.5 + 0.2 * random.normal(0, 1, 30)
    found, flipped = stats.ratio_interval(values, under), stats.ratio_interval(-values, -under)
    assert found == flipped and found is not None and found.low < values.mean() / under.mean() < found.high
    assert stats.ratio_interval(values, under, clusters=list("abcdefghij") * 3) != found
    with pytest.raises(ValueError, match="reference is 0"):
        stats.ratio_interval(np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="items don't match"):
        stats.ratio_interval(np.array([1.0, 2.0]), np.array([1.0]))


def numbers(shift: float, share: float | None, **more: Any) -> dict[str, Any]:
    return {
        "shift": shift,
        "ci": [shift - 0.05, shift + 0.05],
        "survives": share,
        "survives_ci": None if share is None else [share - 0.1, share + 0.1],
        "baseline": 0.45,
        "lost_mass": 0.01,
        "broken": False,
        **more,
    }


def test_the_table_and_what_a_broken_condition_shows(tmp_path: Path) -> None:
    conditions = {"prefix": numbers(0.15, 0.75), "format": numbers(0.9, None, broken=True, lost_mass=0.8)}
    rows = [baseline(), cell("caa", "pos", 0.2, robustness=conditions), cell("sft", "pos", 0.3)]
    table = robustness_table(rows)
    assert table is not None
    assert [line.cells for line in table.rows] == [
        ("caa", "pos", "plain", "0.500", "+0.200", "[0.150, 0.250]", "–", "–"),
        ("caa", "pos", "prefix", "0.450", "+0.150", "[0.100, 0.200]", "75%", "[65%, 85%]"),
        ("caa", "pos", "format", "0.450", "broken", "–", "–", "–"),
    ]
    assert "more than half of the probability" in table.notes[0]
    text = report(make_run(tmp_path, rows))
    assert "| caa | pos | prefix | 0.450 | +0.150 [0.100, 0.200] | 75% [65%, 85%] |" in text
    assert robustness_table([baseline(), cell("caa", "pos", 0.2)]) is None


TAMPERED: list[dict[str, Any]] = [
    {"shift": None},
    {"broken": 0},
    {"survives_ci": [0.1]},
    {"lost_mass": "x"},
    {"survives": "much"},
]


@pytest.mark.parametrize("value", [[], {"prefix": 1}, *({"prefix": numbers(0.1, 0.5) | odd} for odd in TAMPERED)])
def test_a_summary_that_was_tampered_with_is_refused(value: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, [baseline(), cell("caa", "pos", 0.2, robustness=value)])
    assert "the field 'robustness' can't be" in complaint(lambda: report(run))


def test_what_one_fit_is_asked_is_held_against_its_own_answers() -> None:
    from comparisons.evaluation.interface import MeasuredCell, MeasuredRows

    names = ("evaluation", "item", "order", "logp_matching", "logp_contrast", "p_match", "matching", "contrast")
    rows = [
        {**dict(zip(names, ("choices", item, "given", -1.0, -1.0, p, "A", "B"), strict=True)), "seed": seed}
        for seed, p in ((3, 0.25), (4, 0.75))
        for item in ("one", "two")
    ]
    assert MeasuredRows(rows, {}).measures("choices").p_match.tolist() == [0.5, 0.5]
    assert MeasuredRows(rows, {}).first_fit.measures("choices").p_match.tolist() == [0.25, 0.25]
    nowhere: Any = None
    both = MeasuredCell(nowhere, nowhere, MeasuredRows(rows, {}), MeasuredRows(rows[2:], {}), 0)
    assert both.first_shift("choices") == -0.5 and both.paired("choices").difference.mean() == -0.25
    plain = [{name: row[name] for name in names} for row in rows[:2]]
    assert MeasuredRows(plain, {}).first_fit.rows == plain
