"""Gives every contender its turn, again and again, and makes rows of what was measured."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from comparisons.bench.contenders import LIBRARY, PLAIN_LOOP, Loop, library_loop, plain_pass, run_engine
from comparisons.bench.cost import floor_seconds, needed, now
from comparisons.bench.memory import peak_memory

if TYPE_CHECKING:
    from comparisons.bench.works import Sizes, Work
    from comparisons.model.lm import LM

ENGINE, PLAIN_PASSES = "engine", "plain passes"


@dataclass(frozen=True)
class Row:
    """One contender on one work.

    Attributes:
        work: its name.
        contender: "engine", "plain loop", "plain passes" (unsteered, one a question) or "steering-vectors".
        seconds: of the whole work, median of the repeats; None where the contender is not installed.
        ratio: the plain loop's seconds divided by these.
        passes: these seconds divided by those of the plain passes.
        tokens: run for the whole work.
        floor_share: the time of the needed matrix products divided by these seconds.
        ceiling: the plain loop's tokens divided by these; the ratio if every token cost the same.
        ceiling_share: ratio divided by ceiling.
        least_share: ratio divided by what it were if every token cost the same and no more were run than are needed.
        difference: largest one from the plain loop's numbers: of p_match; of KL in nats; of activations relative to the
            largest; of answers the share that differ.
        peak_memory_bytes: of the engine, above what was in use before; None where it can't be told.
        timed: what was timed in each repeat.
    """

    work: str
    contender: str
    seconds: float | None
    ratio: float | None = None
    passes: float | None = None
    tokens: int | None = None
    floor_share: float | None = None
    ceiling: float | None = None
    ceiling_share: float | None = None
    least_share: float | None = None
    difference: float | None = None
    peak_memory_bytes: int | None = None
    timed: str = ""


@dataclass
class _Times:
    """What was measured of one contender; `tokens` of one repeat, scaled to the whole work."""

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    difference: float | None = None
    timed: str = ""


def measure(
    lm: LM, work: Work, sizes: Sizes, rate: float, turn: Callable[[str], None] = lambda text: None
) -> list[Row]:
    """Times every contender on a work, in turns, so that noise on the machine hits all alike.

    Args:
        lm: the model.
        work: the questions and settings.
        sizes: how often, and how many passes of a loop.
        rate: see `floor_seconds`.
        turn: told whose turn it is.

    Returns:
        Rows of the engine, the plain loop, the plain passes and the steering-vectors library.
    """
    library = library_loop()
    loops = [PLAIN_LOOP, *([library] if library else [])]
    prompts = work.read_by(lm)
    _warm_up(lm, work, loops, prompts)
    times = {name: _Times() for name in (ENGINE, PLAIN_LOOP.name, PLAIN_PASSES, *(loop.name for loop in loops))}
    peak = None
    for repeat in range(sizes.repeats):
        generator = random.Random(f"{sizes.seed}/{work.name}/{repeat}")
        turn(f"{work.name} {repeat + 1}/{sizes.repeats}: loops")
        _time_passes(lm, prompts, work.scale, sizes.passes, generator, times[PLAIN_PASSES])
        jobs = generator.sample(work.jobs, min(sizes.passes, len(work.jobs)))
        values = {loop.name: _time_loop(lm, work, loop, prompts, jobs, times[loop.name]) for loop in loops}
        turn(f"{work.name} {repeat + 1}/{sizes.repeats}: engine")
        if repeat == 0:
            # Only the first turn is watched: to watch means to hand memory back first, and that takes time.
            with peak_memory(lm.device.type) as watched:
                everything = _time_engine(lm, work, times[ENGINE])
            peak = watched.above
        else:
            everything = _time_engine(lm, work, times[ENGINE])
        values[ENGINE] = {job: everything[job] for job in jobs}
        for name in values.keys() - {PLAIN_LOOP.name}:
            _compare(work, times[name], values[PLAIN_LOOP.name], values[name])
    return _rows(work, times, floor_seconds(lm, work, rate), needed(lm, work).tokens * work.scale, peak)


def _time_engine(lm: LM, work: Work, times: _Times) -> np.ndarray:
    start = now(lm)
    values, tokens = run_engine(lm, work)
    times.seconds.append((now(lm) - start) * work.scale)
    times.tokens = round(tokens * work.scale)
    times.timed = _part(len(work.items), work.whole, "items")
    return values


def _ids(prompt: Any) -> Sequence[int]:
    ids: Sequence[int] = getattr(prompt, "ids", prompt)
    return ids


def _warm_up(lm: LM, work: Work, loops: Sequence[Loop], prompts: Sequence[Any]) -> None:
    """First calls allocate, choose kernels and probe the model: none of that is the work's."""
    run_engine(lm, replace(work, items=work.items[:1]))
    for loop in loops:
        loop.run(lm, work, prompts, work.jobs[0])
    plain_pass(lm, _ids(prompts[0]))


def _time_passes(
    lm: LM, prompts: Sequence[Any], scale: float, most: int, generator: random.Random, times: _Times
) -> None:
    chosen = generator.sample(list(prompts), min(most, len(prompts)))
    start = now(lm)
    for prompt in chosen:
        plain_pass(lm, _ids(prompt))
    whole = len(prompts) * scale
    times.seconds.append((now(lm) - start) * whole / len(chosen))
    times.tokens = round(sum(len(_ids(prompt)) for prompt in prompts) * scale)
    times.timed = _part(len(chosen), round(whole), "passes")


def _time_loop(
    lm: LM, work: Work, loop: Loop, prompts: Sequence[Any], jobs: Sequence[tuple[int, ...]], times: _Times
) -> dict[tuple[int, ...], Any]:
    """Times a sample of jobs and scales it to the whole work; returns the jobs' values."""
    values, tokens = dict[tuple[int, ...], Any](), 0
    start = now(lm)
    for job in jobs:
        values[job], ran = loop.run(lm, work, prompts, job)
        tokens += ran
    whole = len(work.jobs) * work.scale
    times.seconds.append((now(lm) - start) * whole / len(jobs))
    times.tokens = round(tokens * whole / len(jobs))
    kinds = {"activations": "pairs", "choices": "passes", "texts": "pairs of passes", "kl": "questions"}
    what = kinds.get(work.kind, work.kind)
    times.timed = _part(len(jobs), round(whole), what)
    return values


def _part(some: int, whole: int, what: str) -> str:
    return f"{some:,} of {whole:,} {what}" if some < whole else f"{some:,} {what}"


def _compare(work: Work, times: _Times, plain: dict[tuple[int, ...], Any], other: dict[tuple[int, ...], Any]) -> None:
    """Keeps the largest difference from the plain loop's values."""
    if work.kind == "answers":
        difference = sum(plain[job] != other[job] for job in plain) / len(plain)
    else:
        difference = max(float(np.abs(plain[job] - other[job]).max()) for job in plain)
        if work.kind == "activations":
            difference /= max(float(np.abs(values).max()) for values in plain.values())
    # Not max(): it would drop a NaN.
    if times.difference is None or not difference <= times.difference:
        times.difference = difference


def _rows(work: Work, times: dict[str, _Times], floor: float, least: float, peak: int | None) -> list[Row]:
    loop, unit = times[PLAIN_LOOP.name], times[PLAIN_PASSES]
    rows = []
    for name, taken in times.items():
        seconds = median(taken.seconds)
        ratio = median(loop.seconds) / seconds
        ceiling = loop.tokens / taken.tokens if taken.tokens else None
        competes = name != PLAIN_PASSES
        rows.append(
            Row(
                work=work.name,
                contender=name,
                seconds=seconds,
                ratio=ratio if competes else None,
                passes=seconds / median(unit.seconds),
                tokens=taken.tokens,
                floor_share=floor / seconds if competes else None,
                ceiling=ceiling if competes else None,
                ceiling_share=ratio / ceiling if competes and ceiling else None,
                least_share=ratio * least / loop.tokens if competes else None,
                difference=taken.difference,
                peak_memory_bytes=peak if name == ENGINE else None,
                timed=taken.timed,
            )
        )
    if LIBRARY not in times:
        rows.append(Row(work.name, LIBRARY, None, timed="not installed"))
    return rows
