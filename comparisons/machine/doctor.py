"""Is this machine fit for a run, and for a model: which phases fit, as asked or with another option; and measured."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

from comparisons.machine.memory import PHASES, Device, Footprint, Load, Machine, footprint, this_machine
from comparisons.machine.shape import Shape, read_shape
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from comparisons.util.memory import total_memory
from comparisons.util.plugins import package_version

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.method.interface import Method
    from comparisons.model.lm import LM

NEEDED = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "safetensors", "rich", "matplotlib")

WIDTHS = ((None, "bfloat16"), ("8bit", "auto"), ("4bit", "auto"))
"""What else is looked at: the ways to make a model smaller, from mild to strong."""

NOWHERE = "does not fit this machine"

STEPS = (1, 1, 4)
"""Batches of three fits. The first one's time is that of the libraries too; the time of a batch is told from the
difference of the others, which begin alike."""


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what.
        fit: True or False where a run depends on it, None where it is only told.
        found: what was found.
    """

    name: str
    fit: bool | None
    found: str


def checks() -> list[Check]:
    """Looks at packages, device, memory, disk, and the embedded model and data."""
    versions = {package: package_version(package) for package in NEEDED}
    missing = [package for package, version in versions.items() if version is None]
    python = ".".join(map(str, sys.version_info[:3]))
    rows = [
        Check("python", sys.version_info >= (3, 10), python),
        Check(
            "packages",
            not missing,
            f"missing: {', '.join(missing)}" if missing else ", ".join(f"{p} {v}" for p, v in versions.items()),
        ),
    ]
    if versions["torch"]:
        rows.append(Check("device", None, _device()))
    rows += [
        Check("memory", None, _memory()),
        Check("disk here", None, _disk()),
        _embedded_data(),
        _embedded_model(),
    ]
    rows.append(Check("4-bit and 8-bit", None, f"bitsandbytes {package_version('bitsandbytes') or 'is not installed'}"))
    for key in ("HF_TOKEN", "OPENAI_API_KEY"):
        rows.append(Check(key, None, "set" if os.environ.get(key) else "not set"))
    return rows


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        return f"cuda: {torch.cuda.get_device_name()}, {total / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads"


def _memory() -> str:
    total = total_memory()
    return "unknown" if total is None else f"{total / 2**30:.1f} GiB"


def _disk() -> str:
    return f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free"


def _embedded_data() -> Check:
    from comparisons.dataset.behaviors import Library
    from comparisons.dataset.packaged import PACKAGED

    try:
        found = {data: len(Library.open(data).names) for data in PACKAGED}
    except CompareError as error:
        return Check("embedded data", False, str(error))
    return Check("embedded data", True, ", ".join(f"{data}: {count} behaviors" for data, count in found.items()))


def _embedded_model() -> Check:
    from comparisons.model.loading import check_intact
    from comparisons.model.source import ModelSource

    try:
        location = ModelSource().location()
        check_intact(Path(location))
        return Check("embedded model", True, location)
    except CompareError as error:
        return Check("embedded model", False, str(error))


@dataclass(frozen=True)
class Advice:
    """What a model needs, and what this machine has.

    Attributes:
        model: its name.
        shape: its sizes.
        machine: the memories.
        asked: the footprint as asked.
        others: footprints with other options, from mild to strong.
    """

    model: str
    shape: Shape
    machine: Machine
    asked: Footprint
    others: Sequence[Footprint]

    def fits(self, needed: Footprint) -> dict[str, bool]:
        """Whether each phase fits."""
        return {phase: self.machine.holds(needed.device, peak) for phase, peak in needed.phases().items()}

    def verdicts(self) -> dict[str, str]:
        """For each phase, in words, whether it fits as asked, or with which option it would."""
        return {phase: self._verdict(phase) for phase in PHASES}

    def _verdict(self, phase: str) -> str:
        needed = self.asked.phases().get(phase)
        if needed is None:
            return "not with --quantize: its matrices can't be trained"
        if self.machine.holds(self.asked.device, needed):
            return "fits"
        for other in self.others:
            if self.fits(other).get(phase):
                return f"fits with {_options(other, self.asked)}"
        if self.asked.device == "cuda" and self.asked.quantize is None and not phase.startswith("training"):
            if self.machine.holds_offloaded(needed):
                return "fits with blocks kept in main memory, which is slow"
            if self.machine.gpus:
                return "fits with --offload DIR, blocks on disk, which is very slow"
        return NOWHERE

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        rows = [{**asdict(each), "fits": self.fits(each)} for each in (self.asked, *self.others)]
        return {
            "model": self.model,
            "parameters": self.shape.parameters,
            "checkpoint_dtype": self.shape.dtype,
            "machine": {"memory_bytes": self.machine.ram, "gpu_bytes": list(self.machine.gpus)},
            "footprints": rows,
            "verdicts": self.verdicts(),
        }


def advise(source: ModelSource, load: Load | None = None, machine: Machine | None = None) -> Advice:
    """Estimates a model from its configuration, and compares it with this machine.

    Args:
        source: the model, and how it would be loaded.
        load: what it is to do.
        machine: in place of this one.

    Raises:
        CompareError: there is no such model, or its memory on the device asked for is not known.
    """
    if source.device == "mps":
        raise CompareError("--device mps shares the main memory: ask with --device cpu.")
    shape, machine = read_shape(source), machine or this_machine()
    device: Device = "cuda" if source.device == "cuda" or (source.device == "auto" and machine.gpus) else "cpu"
    asked = footprint(shape, device, source.dtype, source.quantize, load)
    others = [
        footprint(shape, other, dtype if quantize is None else source.dtype, quantize, load)
        for other in (device, *(name for name in get_args(Device) if name != device and name == "cpu"))
        for quantize, dtype in WIDTHS
        if quantize is None or shape.stored is None
    ]
    return Advice(source.name, shape, machine, asked, [other for other in others if other != asked])


def _options(other: Footprint, asked: Footprint) -> str:
    """The options that lead from what was asked to a footprint."""
    parts = [f"--device {other.device}"] if other.device != asked.device else []
    parts += [f"--quantize {other.quantize}"] if other.quantize and other.quantize != asked.quantize else []
    parts += [f"--dtype {other.dtype}"] if other.dtype != asked.dtype else []
    return " ".join(parts) or "no --quantize"


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
    from comparisons.model.loading import device_for
    from comparisons.model.loading import load as opened

    device_for(source.device)  # memory is watched before the model is loaded

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
