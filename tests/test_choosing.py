"""Which candidate setting wins on dev."""

from __future__ import annotations

import numpy as np
import pytest

from comparisons.choosing import _winner


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
