"""Every engine path in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from comparisons.engine.choices import choice_logps
from comparisons.engine.trial import packing
from comparisons.intervention import Edit, Intervention
from tests.test_families import asked, random_vector
from tests.tiny import FAMILIES, tiny_lm

pytestmark = pytest.mark.slow

HALF_TOLERANCE = {"bfloat16": 0.15, "float16": 0.02}
"""Three rounding steps of a logit between 8 and 16: 2^-4 in bfloat16, 2^-7 in float16."""


@pytest.mark.parametrize("dtype", sorted(HALF_TOLERANCE))
def test_sixteen_bits(dtype: str) -> None:
    for family in sorted(FAMILIES):
        lm = tiny_lm(family)
        lm.model.to(getattr(torch, dtype))
        if family != "mixtral":  # near-tied routing flips on rounding
            assert packing(lm) == ("packed" if family == "gpt2" else "grown")
        edits = [(), *((Edit(i, random_vector(lm, i), multiplier=0.5),) for i in range(4))]
        interventions = [Intervention(edits=each) for each in edits]
        packed = choice_logps(lm, asked(3), interventions).logps
        lm.packing = "rows"
        rows = choice_logps(lm, asked(3), interventions).logps
        close = np.abs(packed - rows) < HALF_TOLERANCE[dtype]
        assert close.mean() >= (0.9 if family == "mixtral" else 1.0), (family, np.abs(packed - rows).max())
