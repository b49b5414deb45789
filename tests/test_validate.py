"""The simulations: known truths are what they are said to be, a quick run keeps the bounds, and the page is current."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comparisons import stats
from comparisons.stats.intervals import expanded_tail
from tests.validation.__main__ import QUICK, main
from tests.validation.record import MODEL_NUMBERS, NUMBERS, read_model_results, read_results
from tests.validation.results import Results, simulate
from tests.validation.shapes import LIMITS, NULLS, SHAPES, Null, Shape, cluster_labels
from tests.validation.simulations import Sizes, coverage, plain_level
from tests.validation.subjects import ModelSizes

DOCS = Path(__file__).resolve().parent.parent / "docs"
SMALL = Sizes(runs=40, draws=100, flips=99, items=(20,), cells=(3,), table_items=20, multiples=(0.0, 2.0), seed=4)


@pytest.fixture(scope="module")
def quick() -> Results:
    return simulate(QUICK, lambda text: None)


@pytest.fixture(scope="module")
def small() -> Results:
    return simulate(SMALL, lambda text: None)


def test_a_quick_run_keeps_the_bounds(quick: Results) -> None:
    assert quick.missed() == []
    held = [row for row in quick.coverage if row.bound is not None]
    assert {(row.shape, row.items) for row in held} == {(s.name, n) for s in SHAPES for n in (50, 100, 200)}
    assert np.mean([row.covered for row in held]) > 0.93
    assert {row.cells for row in quick.false_positives} == {8, 56}
    assert max(max(row.holm, row.max_t) for row in quick.false_positives if row.bound is not None) < 0.1


def test_ignoring_templates_covers_less_and_not_correcting_cries_wolf(quick: Results) -> None:
    assert next(row for row in quick.coverage if row.shape == "clusters ignored").covered < 0.88
    assert all(row.raw > 0.15 for row in quick.false_positives)


def test_power_is_the_level_without_a_shift_and_near_four_fifths_at_the_detectable_one(quick: Results) -> None:
    for row in quick.power:
        assert row.found[0] < 0.13 and row.found[1] == pytest.approx(0.8, abs=0.14) and row.found[2] > 0.97


@pytest.mark.parametrize("shape", [*SHAPES, *(shape for shape, _ in LIMITS)], ids=lambda shape: shape.name)
def test_the_true_means_are_true(shape: Shape) -> None:
    values = shape.draw(np.random.default_rng(1), 100_000)
    error = stats.standard_error(values, clusters=shape.clusters(len(values)) or cluster_labels(len(values), (10,)))
    assert error is not None and values.mean() == pytest.approx(shape.mean, abs=4 * error)


@pytest.mark.parametrize("null", NULLS, ids=lambda null: null.name)
def test_nulls_have_no_mean_and_cells_share_their_items(null: Null) -> None:
    table = null.draw(np.random.default_rng(2), 3, 60_000)
    assert table.mean(axis=1) == pytest.approx(np.zeros(3), abs=0.01)
    correlation = np.atleast_2d(np.corrcoef(table))[np.triu_indices(3, 1)]
    assert (correlation > 0.15).all() and (correlation < 0.8).all()
    skewness = ((table - table.mean()) ** 3).mean() / table.std() ** 3
    assert abs(skewness) < 0.1 if null.symmetric else abs(skewness) > 1


def test_templates_hold_the_items_that_belong_to_them() -> None:
    labels = cluster_labels(12, (3, 5))
    assert labels == [0] * 3 + [1] * 5 + [2] * 3 + [3]


@pytest.mark.parametrize("units", [5, 10, 50, 500])
def test_plain_bca_is_the_level_whose_expanded_tail_is_the_normal_one(units: int) -> None:
    assert expanded_tail(plain_level(units), units) == pytest.approx(1.959964, abs=1e-5)


def test_another_seed_gives_other_numbers(small: Results) -> None:
    other = coverage(replace(SMALL, seed=1), 0.0, lambda text: None)
    assert [row.covered for row in other] != [row.covered for row in small.coverage]


def test_a_bound_that_is_not_kept_is_named(small: Results) -> None:
    rows = [replace(row, covered=0.5) for row in small.coverage]
    errors = [replace(row, max_t=0.9) for row in small.false_positives]
    plain = replace(small, small=(), labels=(), selections=())
    missed = replace(plain, coverage=tuple(rows), false_positives=tuple(errors)).missed()
    assert len(missed) == len(SHAPES) + sum(null.symmetric for null in NULLS)
    assert missed[0].startswith("coverage of near-normal, 20 items: 0.500") and "max_t" in missed[-1]
    little = replace(small.small[0], untrue=0.0, wrong=0.9, either=0.0)
    label, selected = replace(small.labels[-1], own=0.5), replace(small.selections[0], within=0.9, moved=0, apart=0)
    lines = replace(plain, small=(little,), labels=(label,), selections=(selected,)).missed()[-3:]
    assert [line.split(",")[0] for line in lines] == ["little", "labels", "selection"]
    assert "verdicts wrong in 0.900" in lines[0] and "0.500 and" in lines[1] and "limit wrong in 0.900" in lines[2]


def test_the_command_prints_tables_and_writes_figures_and_the_same_numbers_again(
    small: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.validation.__main__.QUICK", replace(SMALL, runs=20, seed=0))
    few = ModelSizes(("refusal",), shuffles=5, randoms=9, rank_items=4, items=12, constants=(1.0,), draws=100)
    monkeypatch.setattr("tests.validation.onmodel.QUICK", few)
    assert main(["--quick", "--runs", "40", "--seed", "4", "--out", str(tmp_path / "new")]) in (0, 1)
    out = capsys.readouterr().out
    results = read_results(tmp_path / "new" / NUMBERS)
    assert results == small
    on_model = read_model_results(tmp_path / "new" / MODEL_NUMBERS)
    assert on_model.sizes == replace(few, seed=4)
    assert all(table in out for found in (results, on_model) for table in found.tables().values())
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    figures = [f"validity-{name}.png" for name in ("coverage", "errors", "power")]
    figures += [f"validity-model-{name}.png" for name in ("doses", "letters", "ranks")]
    assert names == sorted([*figures, NUMBERS, MODEL_NUMBERS])
    assert all((tmp_path / "new" / name).read_bytes()[:4] == b"\x89PNG" for name in names if name.endswith("png"))


@pytest.mark.parametrize(
    "arguments",
    [["--runs", "3"], ["--no-such"], ["--out", "FILE/sub"], ["--only", "x"], ["--only", "model", "--runs", "40"]],
)
def test_wrong_usage_exits_with_two(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    given = [argument.replace("FILE", str(tmp_path / "file")) for argument in arguments]
    assert main(given) == 2
    assert "Error" in capsys.readouterr().err


def test_the_help_is_light() -> None:
    code = (
        "import sys\nfrom tests.validation.__main__ import main\nmain(['--help'])\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout and done.stdout.endswith("[]\n")


def test_the_page_shows_what_was_measured() -> None:
    results, page = read_results(DOCS / "figures" / NUMBERS), (DOCS / "validity.md").read_text(encoding="utf-8")
    assert results.sizes == Sizes() and results.missed() == []
    for name, table in results.tables().items():
        assert table in page, name
