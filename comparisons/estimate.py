"""What a run will cost, before it is begun: cells, forward passes, tokens, time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from comparisons.behaviors import Behavior, Item
from comparisons.engine.plan import batches
from comparisons.evaluate.questions import questions
from comparisons.job import check_layers
from comparisons.lm import LM
from comparisons.loading import load_without_weights
from comparisons.specification import Cell, Element, Plan, Specification, make_plan

SECONDS_A_FORWARD_AND_BLOCK = 1e-3
"""What starting the work of one block costs on a CPU, whatever its size."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take; it assumes that nothing is in the store yet.

    Attributes:
        keys: of the cells.
        forwards: passes of the model over a batch.
        tokens: run through the model, fits included; a training token counts as three.
        seconds: at the matrix rate measured on this machine.
    """

    keys: tuple[str, ...]
    forwards: int
    tokens: int
    seconds: float

    def text(self) -> str:
        """The estimate for people."""
        cells = "\n".join(f"  {key}" for key in self.keys)
        minutes = self.seconds / 60
        took = f"{minutes:.0f} min" if minutes >= 2 else f"{self.seconds:.0f} s"
        return (
            f"{len(self.keys)} cells:\n{cells}\n"
            f"about {self.forwards} forward passes, {self.tokens:,} tokens, {took} on this machine's CPU "
            "or several times less on a GPU; what is already fitted is not fitted again"
        )


@dataclass
class _Tally:
    lm: LM
    forwards: int = 0
    tokens: float = 0.0

    def add(self, lengths: Sequence[int], branch_tokens: int, times: float = 1.0) -> None:
        """Counts `times` passes over prompts, each with so many branch tokens behind it."""
        count = sum(1 for _ in batches(lengths, [0] * len(lengths), lambda n: n + branch_tokens, self.lm.token_budget))
        self.forwards += round(2 * count * times)
        self.tokens += times * sum(length + branch_tokens for length in lengths)


def estimate(spec: Specification) -> Estimate:
    """Estimates a run from its specification, the tokenizer and the model's configuration; no weights are loaded."""
    plan = make_plan(spec)
    lm = load_without_weights(spec.model)
    check_layers(plan, lm)
    tally = _Tally(lm)
    for name, behavior in plan.behaviors.items():
        cells = [cell for cell in plan.cells if cell.behavior == name]
        _count_evaluation(tally, plan, behavior, cells)
        for element in _distinct(cells):
            _count_fits(tally, plan, behavior, element)
    seconds = tally.tokens * 2 * lm.parameters / _matrix_rate(lm.width)
    seconds += tally.forwards * len(lm.blocks) * SECONDS_A_FORWARD_AND_BLOCK
    return Estimate(tuple(cell.key for cell in plan.cells), tally.forwards, int(tally.tokens), seconds)


def _count_evaluation(tally: _Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    lengths = _lengths(tally.lm, behavior.test, plan)
    if plan.knowledge is not None:
        lengths += _lengths(tally.lm, plan.knowledge.items, plan)
    groups = [_prefix(cell) for cell in cells]
    for group in dict.fromkeys(groups):
        tally.add(lengths, 2 * groups.count(group))


def _prefix(cell: Cell) -> object:
    """What is likely to share a prompt's cache: dosed methods that don't adapt weights steer activations."""
    return tuple((e.name, e.direction, e.strength) for e in cell.elements if e.method.adapts or not e.method.dosed)


def _distinct(cells: Iterable[Cell]) -> list[Element]:
    found = {}
    for cell in cells:
        for element in cell.elements:
            direction = element.direction if element.method.fits == "direction" else None
            found[(element.name, repr(element.method), direction)] = element
    return list(found.values())


def _count_fits(tally: _Tally, plan: Plan, behavior: Behavior, element: Element) -> None:
    candidates = element.method.candidates(len(tally.lm.blocks)) or [element.method]
    fits = {repr(sorted(c.fit_settings().items(), key=str)) for c in candidates}
    train = [n for n in _lengths(tally.lm, behavior.train, plan) if n] or [0]
    once = train[:: len(plan.orders)]
    tally.add(once, 4, times=len(fits) * element.method.fit_passes())
    if len(candidates) > 1:
        dev = _lengths(tally.lm, behavior.dev, plan)
        if element.method.adapts:
            tally.add(dev, 2, times=len(candidates))
        else:
            tally.add(dev, 2 * len(candidates))


def _lengths(lm: LM, items: Sequence[Item], plan: Plan) -> list[int]:
    asked = questions(items, plan.orders)
    return [len(lm.tokenize(lm.prompt(q.shown.question))) for q in asked]


def _matrix_rate(width: int) -> float:
    """Floating-point operations a second of a matrix product of the model's width, measured for a moment."""
    import torch

    left, right = torch.randn(512, width), torch.randn(width, 4 * width)
    left @ right
    started, runs = time.perf_counter(), 0
    while time.perf_counter() - started < 0.05:
        left @ right
        runs += 1
    return 2 * 512 * width * 4 * width * runs / (time.perf_counter() - started)
