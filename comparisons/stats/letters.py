"""Content and letter apart: what of a preference follows the answer's text, and what the letter it stands under."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from comparisons.stats.units import FloatArray, finite
from comparisons.util.errors import unknown

if TYPE_CHECKING:
    from comparisons.util.directions import Direction


def content_and_letter(
    logit_given: FloatArray, logit_swapped: FloatArray, matching_is_first: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Splits each item's logit of p_match into what follows the content and what follows the letter.

    With z the logit, content = (z_given + z_swapped) / 2, and letter = ±(z_given − z_swapped) / 2 with plus
    where the matching answer stands under the first letter in the given order. So a positive content
    prefers the matching answer, and a positive letter prefers the item's first-listed letter, whatever
    stands under it.

    Args:
        logit_given: [items] log(p_match / (1 − p_match)) with the choices as given.
        logit_swapped: [items] the same with the texts of the two choices exchanged. Items that were asked in
            one order only can't be split: leave them out.
        matching_is_first: [items] whether, as given, the matching letter is the first-listed of the two.

    Returns:
        content and letter, each [items], in logits.
    """
    given, swapped = finite("logit_given", logit_given), finite("logit_swapped", logit_swapped)
    first = np.asarray(matching_is_first, dtype=bool)
    if not given.shape == swapped.shape == first.shape:
        raise ValueError(f"items don't match: {given.shape}, {swapped.shape} and {first.shape}")
    return (given + swapped) / 2, np.where(first, 1.0, -1.0) * (given - swapped) / 2


def letter_bias(p_first: FloatArray) -> float:
    """How much the first letter is preferred: the mean of P(first) / (P(first) + P(second)), minus 0.5.

    Args:
        p_first: [items × orders] or any shape. Without both orders a bias and an unbalanced key look alike.
    """
    return float(finite("p_first", np.ravel(p_first)).mean()) - 0.5


def anti_steerable(content_shift: FloatArray, direction: Direction) -> float:
    """The share of items whose content logit moved strictly against the direction asked for.

    After Tan et al. 2024 (Analyzing the Generalization and Reliability of Steering Vectors), who judge an
    item by its slope over strengths, as `steerability` does; this judges it at one strength. An item that did
    not move is not wrong.

    Args:
        content_shift: [items] content of the cell minus content of the baseline; see `content_and_letter`.
        direction: with `pos` a fall is the wrong way, with `neg` a rise.
    """
    if direction not in ("pos", "neg"):
        raise unknown("direction", str(direction), ("pos", "neg"))
    shift = finite("content_shift", content_shift)
    wrong = shift < 0 if direction == "pos" else shift > 0
    return float(wrong.mean())
