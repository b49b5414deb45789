"""Which candidate setting wins on dev."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from comparisons.cli import execute as cli
from comparisons.running.choosing import _winner


@pytest.mark.parametrize(
    ("two_sided", "plain", "mild"),
    [
        ([0.1, 0.46, 0.5], 2, 1),
        ([0.5, 0.46, 0.1], 0, 0),
        ([0.1, 0.44, 0.5], 2, 2),
        ([np.nan, 0.48, 0.5], 2, 1),
        ([-0.3, -0.1, -0.2], 1, 1),
    ],
)
def test_the_largest_shift_wins_or_the_mildest_that_comes_near(two_sided: list[float], plain: int, mild: int) -> None:
    assert _winner(np.array(two_sided), mild_first=False) == plain
    assert _winner(np.array(two_sided), mild_first=True) == mild


def test_a_single_candidate_is_chosen_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--train-items", "40", "--test-items", "4", "--knowledge", "none", "--out", "out")
    one = ("--set", "sft.epochs=1", "--set", "sft.learning_rate=0.001")
    assert cli(["run", "--behavior", "refusal", "--methods", "sft", *one, *few]) == 0
    choice = json.loads(Path("out/choices.json").read_text())["choices"][0]
    assert choice["chosen"] == {"epoch": 1} and len(choice["trials"]) == 1
