"""Figures and shares for docs/performance.md: seconds against the number of settings and the length of a prompt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from comparisons.bench.contenders import PLAIN_LOOP, run_engine
from comparisons.bench.cost import now
from comparisons.bench.results import describe, machine
from comparisons.bench.subjects import make_items
from comparisons.bench.works import MULTIPLIERS, Sizes, Work, edits, make_works
from comparisons.util.drawing import png
from comparisons.util.errors import CompareError
from comparisons.util.files import write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from comparisons.model.lm import LM

SETTINGS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
QUICK_SETTINGS, QUICK_LENGTHS = (1, 4), (32, 64)
QUESTIONS = 4
PASSES = 6
"""Of the plain loop, timed for each point and repeat; the figure is scaled to all."""

COLORS = {"engine": "#0072b2", "plain loop": "#d55e00"}

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear", "matmul", "_addmm_activation", "mkldnn_linear"),
    "moving data": ("copy_", "cat", "clone", "index", "index_put_", "_index_put_impl_", "index_select", "gather",
                    "contiguous", "repeat_interleave", "embedding", "fill_", "zero_"),
}  # fmt: skip
ATTENTION, REST, OUTSIDE = "attention", "norms, activations and other operators", "outside operators"


@dataclass(frozen=True)
class Point:
    """Seconds at one place of a figure.

    Attributes:
        settings: how many.
        tokens: of each prompt.
        questions: how many.
        engine: seconds of the engine for all of them.
        plain_loop: seconds of the plain loop for all of them, scaled from `passes`.
        passes: how many passes of the plain loop were timed in each repeat.
    """

    settings: int
    tokens: int
    questions: int
    engine: float
    plain_loop: float
    passes: int


def write_figures(lm: LM, folder: Path, sizes: Sizes, turn: Callable[[str], None], quick: bool = False) -> list[Path]:
    """Times both contenders over settings and over lengths; writes two PNGs and performance.json.

    The numbers include the breakdown of a sweep, see `breakdown`.

    Args:
        lm: the model.
        folder: where they go; made if absent.
        sizes: prompt length of the first figure, repeats and seed.
        turn: told what is being timed.
        quick: a few points only.

    Returns:
        The files.

    Raises:
        CompareError: the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"the folder {folder} can't be made: {error.strerror}; give --figures another.") from error
    by_settings = [_point(lm, n, sizes.tokens, sizes, turn) for n in (QUICK_SETTINGS if quick else SETTINGS)]
    every = len(lm.blocks) * len(MULTIPLIERS)
    longest = lm.context or LENGTHS[-1]
    lengths = [n for n in (QUICK_LENGTHS if quick else LENGTHS) if n <= longest]
    by_length = [_point(lm, every, n, sizes, turn) for n in lengths]
    measured = {"settings": [asdict(p) for p in by_settings], "lengths": [asdict(p) for p in by_length]}
    data = folder / "performance.json"
    turn("where the sweep's time goes")
    (sweep,) = make_works(lm, ["sweep"], replace(sizes, prompts=QUESTIONS))
    head = {"subject": describe(lm), "machine": machine(lm), "repeats": sizes.repeats}
    write_json(data, {**head, **measured, "sweep_shares": breakdown(lm, sweep)})
    pictures = [
        (folder / "settings.png", by_settings, "settings", f"settings ({QUESTIONS} prompts of {sizes.tokens} tokens)"),
        (folder / "lengths.png", by_length, "tokens", f"tokens a prompt ({QUESTIONS} prompts, {every} settings)"),
    ]
    for path, points, across, label in pictures:
        write_bytes(path, _png(points, across, label))
    return [data, *(path for path, *_ in pictures)]


def breakdown(lm: LM, work: Work) -> dict[str, float]:
    """Shares of the engine's time on a work by kind of operator, from torch's profiler; they add up to 1.

    "outside operators" is Python: the libraries' and the engine's own, tokenizing included, and the profiler's.
    """
    from torch.profiler import ProfilerActivity, profile

    cuda = lm.device.type == "cuda"
    run_engine(lm, work)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        start = time.perf_counter()
        run_engine(lm, work)
        wall = (time.perf_counter() - start) * 1e6
    seconds = dict.fromkeys((*KINDS, ATTENTION, REST), 0.0)
    for event in profiled.key_averages():
        seconds[_kind(event.key)] += event.self_device_time_total if cuda else event.self_cpu_time_total
    seconds[OUTSIDE] = max(0.0, wall - sum(seconds.values()))
    total = sum(seconds.values())
    return {kind: part / total for kind, part in seconds.items()}


def _kind(operator: str) -> str:
    name = operator.removeprefix("aten::")
    if "attention" in name:
        return ATTENTION
    return next((kind for kind, names in KINDS.items() if name in names), REST)


def _point(lm: LM, settings: int, tokens: int, sizes: Sizes, turn: Callable[[str], None]) -> Point:
    turn(f"{settings} settings, prompts of {tokens} tokens")
    items = make_items(lm, QUESTIONS, tokens, sizes.seed)
    work = Work("sweep", "choices", items, settings=spread(lm, settings, sizes.seed))
    prompts = work.prompts(lm)
    generator = random.Random(sizes.seed)
    engine, plain = [], []
    run_engine(lm, replace(work, items=items[:1]))
    PLAIN_LOOP.run(lm, work, prompts, (0, 0))
    passes = min(PASSES, len(work.jobs))
    for _ in range(sizes.repeats):
        start = now(lm)
        for job in generator.sample(work.jobs, passes):
            PLAIN_LOOP.run(lm, work, prompts, job)
        between = now(lm)
        run_engine(lm, work)
        engine.append(now(lm) - between)
        plain.append((between - start) * len(work.jobs) / passes)
    return Point(settings, tokens, QUESTIONS, median(engine), median(plain), passes)


def spread(lm: LM, count: int, seed: int) -> tuple[Any, ...]:
    """Distinct settings, none of them plain, spread evenly over the layers.

    A single one stands at the middle block, where a branch costs what the average branch costs.
    """
    blocks = len(lm.blocks)
    if count < blocks:
        layers = [round((i + 0.5) * blocks / count - 0.5) for i in range(count)]
        return edits(lm, layers, [1.0], seed)
    each = -(-count // blocks)
    every = edits(lm, range(blocks), [0.1 * (i + 1) for i in range(each)], seed)
    return tuple(sorted(every, key=lambda edit: edit.multiplier)[:count])


def _png(points: Sequence[Point], across: str, label: str) -> bytes:
    return png(lambda figure: _draw(figure.subplots(), points, across, label), (6.0, 3.6), style={})


def _draw(axes: Axes, points: Sequence[Point], across: str, label: str) -> None:
    places = [getattr(point, across) for point in points]
    for name, field, style in (("plain loop", "plain_loop", "s--"), ("engine", "engine", "o-")):
        axes.plot(places, [getattr(point, field) for point in points], style, color=COLORS[name], label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("seconds")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
