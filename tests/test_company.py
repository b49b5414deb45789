"""Several processes at once in one checkout: each artifact fitted once, no row lost or doubled, all of them right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.forks import Command, Ended, Forks
from tests.whole_runs import ARGUMENTS, GRID, asked, check_equal, faults, numbers

pytestmark = pytest.mark.slow

COUNTED = """
import time
from dataclasses import dataclass
from pathlib import Path

from comparisons.method import *


@dataclass(frozen=True)
class Counted(Method):
    '''Writes down each fit.'''

    size: float = 0.5

    def fit(self, fit):
        import torch
        from safetensors.torch import save_file

        with (Path(__file__).parent / "fits.log").open("a") as log:
            log.write(f"{fit.direction} {self.size}\\n")
        time.sleep(0.3)
        save_file({"vector": torch.full((fit.lm.width,), self.size)}, fit.out / "vector.safetensors")

    def intervene(self, use):
        from safetensors.torch import load_file

        vector = load_file(use.fitted / "vector.safetensors")["vector"]
        return Intervention(edits=(Edit(1, vector, multiplier=use.signed),))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counted.py").write_text(COUNTED)
    return tmp_path


def command(checkout: Path, methods: str, out: str, after: float | None = None) -> Command:
    return Command(f"run --methods {methods} {GRID} --plugins plugins --out {out}".split(), str(checkout), after)


def fits(checkout: Path) -> Counter[str]:
    return Counter((checkout / "plugins" / "fits.log").read_text().splitlines())


@pytest.mark.timeout(300)
def test_four_identical_commands_all_come_right(forks: Forks, whole_run: tuple[Path, Ended], tmp_path: Path) -> None:
    found = forks.run(*[Command(ARGUMENTS, str(tmp_path), every=1e9)] * 4)
    assert [ended.code for ended in found] == [0] * 4, [ended.said for ended in found]
    assert sum("another process is writing the run in out" in ended.said for ended in found) == 3
    check_equal(tmp_path, whole_run[0])


@pytest.mark.timeout(300)
def test_four_grids_that_share_artifacts_fit_each_once(forks: Forks, checkout: Path) -> None:
    grids = ["counted", "counted,sysprompt", "sysprompt+counted", "counted+sysprompt,sysprompt"]
    found = forks.run(*[command(checkout, grid, f"out-{i}") for i, grid in enumerate(grids)])
    assert [ended.code for ended in found] == [0] * 4, [ended.said for ended in found]
    assert fits(checkout) == {"pos 0.5": 1, "neg 0.5": 1}
    assert faults(checkout) == []
    alone = {row["cell"]: row["p_match"] for row in numbers(checkout / "out-1")}
    for i in range(4):
        rows = {row["cell"]: row["p_match"] for row in numbers(checkout / f"out-{i}")}
        assert set(asked(checkout / f"out-{i}").values()) == {1}
        assert {cell for cell, *_ in asked(checkout / f"out-{i}")} == set(rows)
        for cell, value in rows.items():
            assert value == pytest.approx(alone.get(cell, value), abs=1e-6)


@pytest.mark.timeout(300)
def test_the_locks_of_killed_processes_hold_up_nobody(forks: Forks, checkout: Path) -> None:
    killed = [command(checkout, "counted", "out", after) for after in (0.5, 0.7)]
    found = forks.run(*killed, *[command(checkout, "counted", "out")] * 2)
    assert [ended.code for ended in found] == [-9, -9, 0, 0], [ended.said for ended in found]
    assert set(asked(checkout / "out").values()) == {1}
    assert faults(checkout) == []
    assert max(fits(checkout).values()) <= 1 + len(killed)
    assert [path.name for path in checkout.glob("checkpoints/.*.making")] == []
