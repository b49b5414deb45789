"""The whole of a bench: what was timed where, its rows, and the targets beside what was measured."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from comparisons.bench.cost import matrix_rate
from comparisons.bench.measure import ENGINE, Row, measure
from comparisons.bench.subjects import LLAMA2_7B, STANDARD
from comparisons.bench.works import Sizes, for_subject, make_works

if TYPE_CHECKING:
    from comparisons.model.lm import LM

Figure = Literal["ratio", "passes", "ceiling_share", "floor_share", "difference", "peak_memory_bytes"]


@dataclass(frozen=True)
class Target:
    """What the engine's row of a work should reach.

    Attributes:
        works: any of these; the worst of them counts.
        figure: which field of the row.
        bound: the value.
        at_least: whether more is better.
    """

    works: tuple[str, ...]
    figure: Figure
    bound: float
    at_least: bool

    def measured(self, rows: Sequence[Row]) -> float | None:
        """The worst value among the works' engine rows; None where there is none."""
        values = [getattr(row, self.figure) for row in rows if row.contender == ENGINE and row.work in self.works]
        known = [value for value in values if value is not None]
        return (min(known) if self.at_least else max(known)) if known else None

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


TARGETS = {
    STANDARD: (
        Target(("sweep",), "ratio", 65, True),
        Target(("sweep",), "passes", 1.6, False),
        Target(("extraction",), "ratio", 1.9, True),
        Target(("knowledge",), "ceiling_share", 0.85, True),
        Target(("grid",), "ceiling_share", 0.85, True),
        Target(("generation",), "ratio", 5, True),
        Target(("sweep", "grid", "knowledge"), "difference", 1e-5, False),
        Target(("sweep",), "peak_memory_bytes", 2**30, False),
    ),
    LLAMA2_7B: (
        Target(("extraction",), "floor_share", 0.4, True),
        Target(("sweep",), "ratio", 40, True),
    ),
}
"""By subject; others have none."""


@dataclass(frozen=True)
class Results:
    """What a bench found.

    Attributes:
        subject: the model and its sizes.
        machine: processor, threads, versions, date.
        sizes: how much was timed.
        matrix_rate: floating-point operations a second of products with the model's own matrices.
        rows: by work, each with every contender.
    """

    subject: dict[str, Any]
    machine: dict[str, Any]
    sizes: Sizes
    matrix_rate: float
    rows: tuple[Row, ...]

    @property
    def targets(self) -> list[tuple[Target, float]]:
        """The subject's targets and what was measured, of the works that were run at the sizes they are meant for."""
        own = for_subject(self.subject["name"])
        if replace(self.sizes, repeats=own.repeats, passes=own.passes) != own:
            return []
        found = [(target, target.measured(self.rows)) for target in TARGETS.get(self.subject["name"], ())]
        return [(target, value) for target, value in found if value is not None]

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        targets = [{**asdict(t), "measured": value, "met": t.met(value)} for t, value in self.targets]
        whole = {"subject": self.subject, "machine": self.machine, "sizes": asdict(self.sizes)}
        return {**whole, "matrix_rate": self.matrix_rate, "rows": [asdict(r) for r in self.rows], "targets": targets}


def bench(lm: LM, names: Sequence[str], sizes: Sizes, turn: Callable[[str], None] = lambda text: None) -> Results:
    """Times the engine and the other contenders on some works, all in this process.

    Args:
        lm: the model.
        names: of the works.
        sizes: how much of each.
        turn: told what is being timed.
    """
    works = make_works(lm, names, sizes)
    turn("matrix rate")
    rate = matrix_rate(lm)
    rows = [row for work in works for row in measure(lm, work, sizes, rate, turn)]
    return Results(describe(lm), machine(lm), sizes, rate, tuple(rows))


def describe(lm: LM) -> dict[str, Any]:
    """The model's name and sizes."""
    sizes = {"blocks": len(lm.blocks), "width": lm.width, "parameters": lm.parameters}
    return {"name": lm.name, **sizes, "dtype": str(lm.model.dtype).removeprefix("torch.")}


def machine(lm: LM) -> dict[str, Any]:
    """Where and when this is timed."""
    import torch
    import transformers

    cuda = lm.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(lm.device) if cuda else lm.device.type,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
