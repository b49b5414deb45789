"""Reports of sweeps: the best settings, maps and curves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.report.sweep import grids
from comparisons.results.folder import read_summary
from comparisons.results.summary import SummaryRow
from tests.made_runs import PNG, SEVEN, baseline, cell, failure, make_run, report, sweep_facts, swept

pytestmark = pytest.mark.slow

SHIFTS = {(0, 1.0): 0.1, (0, -1.0): -0.3, (1, 1.0): 0.2, (1, -1.0): -0.25, (0, 2.0): 0.4, (1, 2.0): 0.15}


def test_a_sweep_shows_its_best_settings_and_how_to_confirm_them(tmp_path: Path) -> None:
    found = report(
        make_run(tmp_path, swept(SHIFTS), sweep_facts(orders="given", settings={"caa": {"fit_on": ["stack"]}}))
    )
    best = re.sub(r"(?s)<details>.*?</details>", "", found.split("## Best settings")[1].split("###")[0])
    lines = [line for line in best.splitlines() if line.startswith("| refusal")]
    assert [line.split(" | ")[2:5] for line in lines[:-1]] == [
        ["pos", "0", "2"],
        ["pos", "1", "1"],
        ["pos", "1", "2"],
        ["neg", "0", "1"],
        ["neg", "1", "1"],
    ]
    # Both ways: (0.2 + 0.25) / 2 at layer 1 against (0.1 + 0.3) / 2 at layer 0.
    assert lines[-1] == "| refusal | caa | 1 | 1 | +0.200 [0.150, 0.250] | -0.250 [-0.300, -0.200] | +0.225 |"
    command = (
        "compare run --behavior refusal --methods caa --layer 1 --strengths 1 --orders given --set caa.fit_on=stack"
    )
    assert f"```sh\n{command}\n```" in found
    assert "optimistic" in found and "dev split" in found


def test_a_sweep_in_one_direction_confirms_its_best(tmp_path: Path) -> None:
    up = {place: shift for place, shift in SHIFTS.items() if place[1] > 0}
    found = report(make_run(tmp_path, swept(up), sweep_facts(directions=["pos"], model="org/name") | {"model": {}}))
    # A run that names no data is from before they had names, when all models were asked in the embedded one's language.
    assert "--layer 0 --strengths 2 --directions pos --model org/name --data pocket\n" in found
    assert "two-sided" not in found


def test_a_setting_that_no_longer_answers_is_no_best_one(tmp_path: Path) -> None:
    rows = swept(SHIFTS)
    rows = tuple(replace(row, lost_mass=0.9) if row.strength == 2 else row for row in rows)
    found = report(make_run(tmp_path / "some", rows, sweep_facts()))
    assert "To raise refusal, caa at layer 1 and strength 1 moved most of 4 cells" in found
    everything = report(make_run(tmp_path / "all", swept(SHIFTS, lost_mass=0.9), sweep_facts()))
    assert "no cell is usable" in everything and "its shift says little" in everything
    assert "Confirm on test" not in everything


@pytest.mark.parametrize(("layers", "strengths", "behaviors"), [(1, 1, 1), (2, 9, 2), (3, 1, 7), (40, 12, 1)])
def test_maps_and_curves_of_any_size_are_drawn_and_stale_ones_removed(
    layers: int, strengths: int, behaviors: int, tmp_path: Path
) -> None:
    rows: list[SummaryRow] = []
    shifts = {(layer, side * (s + 1) / 2): side * 0.01 * s for layer in range(layers) for s in range(strengths)
              for side in (-1, 1)}  # fmt: skip
    for name in SEVEN[:behaviors]:
        mine = [replace(r, behavior=name, cell=r.cell.replace("refusal", name, 1)) for r in swept(shifts)]
        mine[1] = replace(failure("caa", "neg", "ValueError: no", name), cell=mine[1].cell, strength=mine[1].strength)
        rows += mine
    folder = make_run(tmp_path, rows, sweep_facts())
    (folder / "figures").mkdir()
    for stale in ("shift.png", "sweep-9.png"):
        (folder / "figures" / stale).write_bytes(PNG)
    text = report(folder)
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"sweep.png", "sweep-layers.png", "sweep-cost.png"} <= drawn
    assert not drawn & {"shift.png", "sweep-9.png"}
    assert all(f"(figures/{name})" in text for name in drawn)
    assert len(grids(read_summary(folder))) == behaviors


def test_the_layer_of_a_sweeps_cell_is_read_from_its_key() -> None:
    varied = {"push.layer": "1", "caa.layer": "2", "caa.fit_on": "base"}
    row = replace(cell("push+caa", "pos", 0.1), varied=varied)
    assert (row.swept_layer, row.series) == (2, "push+caa (push.layer=1, caa.fit_on=base)")
    assert (baseline().swept_layer, baseline().series) == (None, "baseline")
