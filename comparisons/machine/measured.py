"""What the phases take on this machine: loads a model, sweeps, fits a method, and watches the memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comparisons.machine.memory import Device, Load

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.method.interface import Method
    from comparisons.model.lm import LM
    from comparisons.model.source import ModelSource

STEPS = (1, 1, 4)
"""Batches of three fits. The first one's time is that of the libraries too; the time of a batch is told from the
difference of the others, which begin alike."""


@dataclass(frozen=True)
class Measured:
    """One phase.

    Attributes:
        phase: "loading", "sweeping" or "training".
        peak_bytes: as `Footprint` counts them; None where the system can't tell.
        seconds: of the whole phase.
        rate: of a sweep prompts a second, each at all its settings; of a training batches of `Load.batch` a second.
    """

    phase: str
    peak_bytes: int | None
    seconds: float
    rate: float | None = None


def measure(source: ModelSource, device: Device, load: Load, method: type[Method] | None) -> list[Measured]:
    """Runs the phases one after the other in this process.

    The questions are random words of `load.tokens` tokens. The sweep and its settings are those of `footprint`. The
    method is fitted at its first candidate, for one epoch in batches of `load.batch` with `load.rank`, where it has
    settings of these names; its "training" is comparable with the estimate if that means LoRA on all linear modules.

    Args:
        source: what to load.
        device: on which its weights will be.
        load: what it is to do.
        method: what to fit; None to leave the training out.

    Raises:
        CompareError: the model or the device is not to be had, or the questions don't fit the model.
    """
    from comparisons.engine.memory import returning
    from comparisons.model.loading import load as opened

    def loading() -> LM:
        lm = opened(source)
        lm.mark()  # as a run does, which reads every weight
        return lm

    lm, first = _watched("loading", device, loading)
    rate, second = _watched("sweeping", device, lambda: _sweep(lm, load))
    phases = [first, replace(second, rate=rate)]
    if method is not None:
        with returning():  # what it needs, where more is at hand too
            rate, third = _watched("training", device, lambda: _train(lm, load, method))
        phases.append(replace(third, rate=rate))
    return phases


def _watched(phase: str, device: str, work: Callable[[], Any]) -> tuple[Any, Measured]:
    from comparisons.bench.memory import peak_memory

    start = time.perf_counter()
    with peak_memory(device) as peak:
        result = work()
    return result, Measured(phase, peak.whole, time.perf_counter() - start)


def _sweep(lm: LM, load: Load) -> float:
    from comparisons.bench.subjects import make_items
    from comparisons.bench.works import MULTIPLIERS, edits
    from comparisons.engine.choices import choice_logps
    from comparisons.evaluation.questions import questions
    from comparisons.intervention import Intervention

    asked = [question.shown for question in questions(make_items(lm, load.prompts, load.tokens, 0), ("given",))]
    settings = [Intervention(edits=(edit,)) for edit in edits(lm, range(len(lm.blocks)), MULTIPLIERS, 0)]
    start = time.perf_counter()
    choice_logps(lm, asked, settings)
    return len(asked) / (time.perf_counter() - start)


def _train(lm: LM, load: Load, method: type[Method]) -> float | None:
    chosen = method()
    candidates = chosen.candidates(len(lm.blocks))
    wanted: Mapping[str, Any] = {"epochs": 1, "batch_size": load.batch, "rank": load.rank}
    names = {each.name for each in fields(method)}
    chosen = replace(candidates[0] if candidates else chosen, **{k: v for k, v in wanted.items() if k in names})
    _, few, many = (_fit_seconds(lm, load, chosen, steps * load.batch) for steps in STEPS)
    return (STEPS[2] - STEPS[1]) / (many - few) if many > few else None


def _fit_seconds(lm: LM, load: Load, method: Method, pairs: int) -> float:
    from comparisons.intervention import Intervention
    from comparisons.method.interface import Fit

    behavior = _behavior(lm, pairs, load.tokens)
    with TemporaryDirectory() as out:
        start = time.perf_counter()
        method.fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), Path(out)))
        return time.perf_counter() - start


def _behavior(lm: LM, pairs: int, tokens: int) -> Behavior:
    from comparisons.bench.subjects import make_items
    from comparisons.dataset.behaviors import Behavior

    items = make_items(lm, pairs, tokens, 1)
    return Behavior("random words", items, (), (), (), None, None, None, "made up to measure with")
