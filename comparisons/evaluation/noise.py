"""The numerical noise of p_match: what a model's rounding does to it, measured on its own questions."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from comparisons.dataset.items import Item, Order
from comparisons.dataset.splits import draw
from comparisons.engine.activations import Read, contrast_means
from comparisons.engine.choices import choice_logps
from comparisons.engine.noise import can_widen, in_float32, is_coarse, rounded_at_random
from comparisons.evaluation.questions import ItemChoices, item_choices, questions
from comparisons.experiment.fitting import PACKAGES, Fitter
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.results.schema import Noise
from comparisons.util.errors import CompareError
from comparisons.util.files import json_digest, read_json, write_json
from comparisons.util.plugins import package_version

log = logging.getLogger(__name__)

QUESTIONS = 24
"""How many are asked, of those that are trained on."""

DEPTHS = (0.25, 0.5, 0.75)
"""Where the shifts are made of which the noise is measured, as shares of the blocks."""

FILE = "noise.json"


def numerical_noise(fitter: Fitter, orders: Sequence[Order]) -> Noise | None:
    """The noise of a behavior's p_match on a model, measured once and kept in the store.

    Some training questions are asked twice of the unchanged model, and with the sample's own mean difference vector
    added at three depths: in the model's precision, and with the same weights in float32. Where these don't fit, or the
    model is quantized, both times in its own precision with every module rounded at random: the difference of such runs
    is √2 times that of either from the exact ones, and is divided by that.

    Args:
        fitter: the behavior on its model.
        orders: in which the run asks.

    Returns:
        None for a model that computes in float32.
    """
    lm, behavior = fitter.lm, fitter.behavior
    if not is_coarse(lm):
        return None
    pool = [i for i in behavior.train or behavior.dev or behavior.test if i.orders(orders)]
    items = draw(pool, QUESTIONS, fitter.seed)
    widened = can_widen(lm)
    parts = {
        "model": lm.digest,
        "device": lm.device.type,
        "items": json_digest([item.question for item in items]),
        "orders": list(orders),
        "widened": widened,
        "versions": {package: package_version(package) for package in PACKAGES},
    }

    def write(out: Path) -> None:
        with lm.meter.paused():
            write_json(out / FILE, dict(_measured(lm, items, orders, widened)))

    artifact = fitter.store.get(f"noise-{behavior.name}", parts, write)
    noise: Noise = read_json(artifact.path / FILE, "noise")
    return noise


def _measured(lm: LM, items: Sequence[Item], orders: Sequence[Order], widened: bool) -> Noise:
    settings = [Intervention(), *_steered(lm, items, orders)]
    if widened:
        coarse = _asked(lm, items, orders, settings)
        with in_float32(lm.model):
            exact = _asked(lm, items, orders, settings)
        scale = 1.0
    else:
        with rounded_at_random(lm.model, 1):
            coarse = _asked(lm, items, orders, settings)
        with rounded_at_random(lm.model, 2):
            exact = _asked(lm, items, orders, settings)
        scale = math.sqrt(0.5)
    p_match, content = scale * (coarse.p_match - exact.p_match), scale * (coarse.content - exact.content)
    return {
        "dtype": str(lm.embeddings.dtype).removeprefix("torch."),
        "against": "float32" if widened else "rounding",
        "n_items": p_match.shape[1],
        "mean": float(np.abs(p_match[0]).mean()),
        "largest": float(np.abs(p_match[0]).max()),
        "level": shared_deviation(p_match),
        "shift": shared_deviation(p_match[1:] - p_match[0]),
        "content_shift": shared_deviation(content[1:] - content[0]),
    }


def _steered(lm: LM, items: Sequence[Item], orders: Sequence[Order]) -> list[Intervention]:
    """The items' own mean difference, added at some depths; nothing where they can't be read as pairs."""
    read: Read = "answer" if "answers" in orders else "letter"
    try:
        vectors = contrast_means(lm, items, read=read).matching.float()
    except CompareError as error:
        log.info("numerical noise of shifts is not measured: %s", error)
        return []
    layers = sorted({int(depth * len(lm.blocks)) for depth in DEPTHS})
    return [Intervention(edits=(Edit(layer, vectors[layer]),)) for layer in layers]


def _asked(lm: LM, items: Sequence[Item], orders: Sequence[Order], settings: Sequence[Intervention]) -> ItemChoices:
    asked = questions(items, orders)
    return item_choices(asked, choice_logps(lm, [question.shown for question in asked], settings))


def shared_deviation(errors: np.ndarray) -> float:
    """What items share of their errors, as a standard deviation over settings.

    The square of a setting's mean error is, in expectation, that of what all items share plus the variance of a mean of
    independent errors, s²/n; the estimate is the mean over settings of the first minus the second, or 0.

    Args:
        errors: [settings, items]; 0.0 for no setting or one item.
    """
    if not len(errors) or errors.shape[1] < 2:
        return 0.0
    own = errors.var(axis=1, ddof=1) / errors.shape[1]
    return math.sqrt(max(0.0, float((errors.mean(axis=1) ** 2 - own).mean())))
