"""The whole of a bench: what was timed where, its rows, the targets beside what was measured; and their tables."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from comparisons.bench.cost import matrix_rate
from comparisons.bench.measure import ENGINE, Row, measure
from comparisons.bench.subjects import LLAMA2_7B, SMOLLM2, STANDARD
from comparisons.bench.works import Sizes, for_subject, make_works
from comparisons.util import table

if TYPE_CHECKING:
    from comparisons.model.lm import LM

Figure = Literal["ratio", "passes", "ceiling_share", "least_share", "floor_share", "difference", "peak_memory_bytes"]


LEGEND = (
    "seconds: of the whole work, scaled where a part of it was timed (last column). ratio: to the plain loop. "
    "passes: in plain unsteered passes, one a question. floor: share of these seconds that the necessary matrix "
    "products take. ceiling: the ratio if every token cost the same. difference: largest from the plain loop; "
    "generation: share of answers that differ. MiB: peak above what was in use before."
)
FIGURES: dict[Figure, str] = {
    "ratio": "ratio to the plain loop",
    "passes": "in plain passes",
    "ceiling_share": "share of the ceiling",
    "least_share": "share of the ceiling at the least tokens",
    "floor_share": "share of the floor",
    "difference": "largest difference of p_match or KL",
    "peak_memory_bytes": "peak MiB above the weights",
}


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
        Target(("answers",), "least_share", 0.85, True),
        Target(("kl",), "least_share", 0.85, True),
        Target(("generation",), "ratio", 9, True),
        Target(("generation",), "floor_share", 0.3, True),
        Target(("sweep", "grid", "knowledge", "answers", "kl"), "difference", 1e-5, False),
        Target(("sweep",), "peak_memory_bytes", 2**30, False),
    ),
    LLAMA2_7B: (
        Target(("extraction",), "floor_share", 0.4, True),
        Target(("sweep",), "ratio", 40, True),
    ),
    SMOLLM2: (Target(("sweep",), "ratio", 40, True),),
}
"""By subject; others have none."""


@dataclass(frozen=True)
class Results:
    """What a bench measured.

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
        usual = for_subject(self.subject["name"])
        if replace(self.sizes, repeats=usual.repeats, passes=usual.passes) != usual:
            return []
        measured = [(target, target.measured(self.rows)) for target in TARGETS.get(self.subject["name"], ())]
        return [(target, value) for target, value in measured if value is not None]

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
    """The model's name and sizes, and how its branches are run."""
    from comparisons.engine.trial import packing

    sizes = {"blocks": len(lm.blocks), "width": lm.width, "parameters": lm.parameters}
    return {"name": lm.name, **sizes, "dtype": str(lm.model.dtype).removeprefix("torch."), "packing": packing(lm)}


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


def heading(results: Results) -> list[str]:
    """The subject and the machine."""
    subject, place, sizes = results.subject, results.machine, results.sizes
    return [
        f"{subject['name']}: {subject['parameters'] / 1e6:,.1f}M parameters, {subject['blocks']} blocks of "
        f"{subject['width']}, {subject['dtype']}, packing {subject['packing']}; prompts of {sizes.tokens} tokens",
        f"{place['device']}: {place['processor']}, {place['threads']} threads, torch {place['torch']}, transformers "
        f"{place['transformers']}, {place['date']}",
        f"matrix products at {results.matrix_rate / 1e9:,.0f} GFLOP/s; median of {sizes.repeats} turns",
        "",
    ]


def absent(rows: tuple[Row, ...]) -> list[str]:
    """A line for each contender that is not installed."""
    return [f"{name}: not installed" for name in sorted({row.contender for row in rows if row.seconds is None})]


def contenders_table(rows: tuple[Row, ...]) -> table.Table:
    """A row for each work and contender that is installed."""
    columns = [table.Column("work", align="left"), table.Column("contender", align="left")]
    columns += [table.Column(name, rank=rank) for name, (*_, rank) in CELLS.items()]
    lines = []
    for row in rows:
        if row.seconds is not None:
            values = [(getattr(row, field), form) for field, form, _ in CELLS.values()]
            cells = ["" if value is None else form(value) for value, form in values]
            lines.append((row.work, row.contender, *cells, row.timed))
    return table.Table(
        (*columns, table.Column("timed", rank=9, align="left")),
        tuple(table.Row(line, line[0]) for line in lines),
        (LEGEND,),
    )


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.0f}"


CELLS: dict[str, tuple[str, Callable[[float], str], int]] = {
    "seconds": ("seconds", "{:,.2f}".format, 0),
    "ratio": ("ratio", "{:.2f}×".format, 0),
    "passes": ("passes", "{:,.2f}".format, 6),
    "tokens": ("tokens", "{:,}".format, 8),
    "floor": ("floor_share", "{:.0%}".format, 5),
    "ceiling": ("ceiling", "{:.2f}×".format, 3),
    "of it": ("ceiling_share", "{:.0%}".format, 2),
    "difference": ("difference", "{:.1e}".format, 4),
    "MiB": ("peak_memory_bytes", _mebibytes, 7),
}
"""The contenders' columns of numbers: each one's field of a row, how it is written, and its rank as a column."""


def targets_table(targets: list[tuple[Target, float]]) -> Table:
    """Each target beside what was measured."""
    shown = Table("target", "", "measured", "", box=SIMPLE_HEAD)
    for target, value in targets:
        bound = f"{'at least' if target.at_least else 'at most'} {figure(target.figure, target.bound)}"
        name = f"{', '.join(target.works)}: {FIGURES[target.figure]}"
        shown.add_row(name, bound, figure(target.figure, value), "met" if target.met(value) else "missed")
    return shown


def figure(name: Figure, value: float) -> str:
    """A target's figure as it is shown."""
    if name in ("ceiling_share", "least_share", "floor_share"):
        return f"{value:.0%}"
    if name == "peak_memory_bytes":
        return _mebibytes(value)
    return f"{value:.1e}" if name == "difference" else f"{value:.2f}"
