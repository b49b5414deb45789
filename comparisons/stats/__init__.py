"""Estimators for the table: intervals, p-values and their correction, what steers, what it costs, what was needed.

Pure numpy and scipy, no model. Every estimator works on one number per item, usually a difference paired by item.
Where items share a template they are not independent: with `clusters` the unit that is resampled or flipped
is the cluster. Arrays that are empty, hold NaN or infinity, or don't match in length raise ValueError: no
number is made up for them.
"""

from __future__ import annotations

from comparisons.stats.content import (
    Steerability,
    anti_steerable,
    content_and_letter,
    letter_bias,
    slopes,
    spearman,
    steerability,
)
from comparisons.stats.contrasts import FEWEST, Contrast, contrasts
from comparisons.stats.costs import Area, CostBounds, areas, cost_bounds, dominance, least_limit
from comparisons.stats.counts import (
    Flips,
    Rank,
    detectable_shift,
    items_needed,
    mcnemar,
    minimum_detectable_shift,
    randoms_needed,
    rank_among,
    standard_error,
)
from comparisons.stats.effects import (
    LEAST,
    Effect,
    LabelDifference,
    LabelSplit,
    Pooled,
    by_label,
    interaction,
    mean_effect,
    pooled,
)
from comparisons.stats.flips import holm, max_t, sign_flip_p, sign_flip_ps
from comparisons.stats.intervals import Interval, bca_interval, difference_interval, ratio_interval, student_t
from comparisons.stats.seeds import NO_ERROR, SeedSpread, SharedError, seed_error, seed_spread
from comparisons.stats.units import FloatArray

__all__ = [
    "FEWEST",
    "LEAST",
    "NO_ERROR",
    "Area",
    "Contrast",
    "CostBounds",
    "Effect",
    "Flips",
    "FloatArray",
    "Interval",
    "LabelDifference",
    "LabelSplit",
    "Pooled",
    "Rank",
    "SeedSpread",
    "SharedError",
    "Steerability",
    "anti_steerable",
    "areas",
    "bca_interval",
    "by_label",
    "content_and_letter",
    "contrasts",
    "cost_bounds",
    "detectable_shift",
    "difference_interval",
    "dominance",
    "holm",
    "interaction",
    "items_needed",
    "least_limit",
    "letter_bias",
    "max_t",
    "mcnemar",
    "mean_effect",
    "minimum_detectable_shift",
    "pooled",
    "randoms_needed",
    "rank_among",
    "ratio_interval",
    "seed_error",
    "seed_spread",
    "sign_flip_p",
    "sign_flip_ps",
    "slopes",
    "spearman",
    "standard_error",
    "steerability",
    "student_t",
]
