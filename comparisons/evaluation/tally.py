"""What asking cells costs, counted before anything is run: forward passes and tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

from comparisons.dataset.items import Item
from comparisons.engine.completions import CompletionTails, completion_tails, shared_sizes
from comparisons.engine.plan import Tokens, batches, family_batches, shared_head
from comparisons.evaluation.questions import questions
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import LAYER, Cell, Element
from comparisons.method.interface import Method
from comparisons.model.lm import LM
from comparisons.model.meter import Costs, steps_of

ANSWER_TOKENS = 2
"""Tokens of a branch: the last of the prompt, and what stands before the letter."""

A_FORWARD = 9e7
"""What starting a block's work costs on a CPU, in the operations that its matrix products do in as long."""

A_TOKEN, A_TRAINED_TOKEN = 2500, 1100
"""The same of what a token costs beside its products, for each block and number of the stream: a question's, and a
fit's, whose prompts are written once."""


@dataclass
class Tally:
    """What is counted for an estimate of a run on one model: the seconds are those of this machine's CPU.

    Attributes:
        lm: the model, of which only tokenizer and configuration are used.
        forwards: passes of the model over a batch.
        tokens: that run through it.
        trained: those of them that fits run.
        steps: passes that fits run.
        slower: seconds that passes under adapters take beyond the others'.
        rated: free answers whose coherence is asked for on dev.
    """

    lm: LM
    forwards: int = 0
    tokens: float = 0.0
    trained: float = 0.0
    steps: int = 0
    slower: float = 0.0
    rated: int = 0

    @property
    def seconds(self) -> float:
        """As its costs are."""
        return self.costs.seconds(self.forwards, self.tokens, self.trained) + self.slower

    @property
    def fitting(self) -> float:
        """The seconds of fits among them."""
        return self.costs.seconds(self.steps, self.trained, self.trained)

    @cached_property
    def costs(self) -> Costs:
        """At the matrix rate measured on this machine."""
        lm, blocks = self.lm, len(self.lm.blocks)
        products, rest, rate = 2 * lm.parameters, blocks * lm.width, _matrix_rate(lm.width)
        asked, trained = (products + each * rest for each in (A_TOKEN, A_TRAINED_TOKEN))
        # An adapter has as much again of what is no product.
        return Costs(asked / rate, trained / rate, blocks * A_FORWARD / rate, 1 + A_TOKEN * rest / asked)

    @contextmanager
    def adapted(self) -> Iterator[None]:
        """Counts what is run under adapters while the context lasts."""
        before = self.seconds
        yield
        self.slower += (self.costs.adapted - 1) * (self.seconds - before)

    def write(self, prompts: Sequence[Tokens], branches: int, most: int) -> None:
        """Counts an answer to each prompt by so many branches that share its cache, each as long as it may get."""
        answers = branches * most
        count = sum(1 for _ in batches([branches * len(p) for p in prompts], answers, self.lm.token_budget))
        self.forwards += count * (1 + most)
        self.tokens += sum(map(len, prompts)) + answers * len(prompts)

    def add(self, prompts: Sequence[Tokens], branches: float, times: float = 1.0) -> None:
        """Counts `times` passes over prompts, each with so many branch tokens behind it, padding included."""
        if not prompts:
            return
        head = len(shared_head(prompts))
        forwards, tokens = 0, head
        for batch in family_batches(prompts, range(len(prompts)), head, round(branches), self.lm.token_budget):
            stems = [len(family.stem) for family in batch]
            rests = [len(prompts[i]) - head - len(family.stem) for family in batch for i in family.members]
            forwards += 1 + bool(max(stems)) + bool(max(rests))
            tokens += len(stems) * max(stems) + len(rests) * max(rests)
        self.forwards += round(forwards * times)
        self.tokens += times * (tokens + branches * len(prompts))

    def fit(self, prompts: Sequence[Tokens], branches: float, times: float, trains: bool) -> None:
        """Counts a fit of so many passes over its training pairs, in trainings' batches.

        Args:
            prompts: the pairs'.
            branches: tokens of a pair's answers.
            times: how many passes.
            trains: whether each pair has its prompt alone, as in trainings; else prompts that begin alike share that.
        """
        before = self.forwards, self.tokens
        if trains:
            self.tokens += times * (sum(map(len, prompts)) + branches * len(prompts))
        else:
            self.add(prompts, branches, times)
        steps = round(steps_of(len(prompts)) * times)
        self.forwards, self.steps = before[0] + steps, self.steps + steps
        self.trained += self.tokens - before[1]

    def read(self, lengths: Sequence[int], branches: float) -> None:
        """Counts texts of so many tokens, each by so many branches that share nothing."""
        sizes = [math.ceil(branches * length) for length in lengths]
        self.forwards += sum(1 for _ in batches(sizes, 0, self.lm.token_budget))
        self.tokens += branches * sum(lengths)

    def ask(self, items: Sequence[Item], plan: Plan, cells: Sequence[Cell]) -> None:
        """Counts questions: one prefill for cells that share it, their branches from their layers on."""
        groups = self.groups(cells)
        sets = run_together(self.lm, items if groups else (), plan)
        for shares in groups.values():
            for prompts, each in sets(len(shares)):
                self.add(prompts, each * sum(shares.values()))

    def groups(self, cells: Sequence[Cell]) -> dict[object, dict[object, float]]:
        """By what changes the prefix, the branches of cells, each with the share of the blocks that it runs through."""
        groups: dict[object, dict[object, float]] = {}
        for cell in cells:
            # The plain branch is run whether a cell asks for it or not: the others grow out of it.
            groups.setdefault(prefix_of(cell), {(): 1.0})[branch_of(cell)] = share_of(cell, len(self.lm.blocks))
        return groups


def branches_of(cells: Sequence[Cell], prefix: object) -> int:
    """How many different branches the cells of a prefix stand for."""
    return len({branch_of(cell) for cell in cells if prefix_of(cell) == prefix})


def prefix_of(cell: Cell) -> object:
    """What is likely to share a prompt's cache: dosed methods that don't adapt weights steer activations."""
    return tuple((e.name, e.direction, e.strength) for e in cell.elements if e.method.adapts or not e.method.dosed)


def branch_of(cell: Cell) -> object:
    """What is likely to run once however many cells stand for it: at strength 0 all equal the plain model."""
    return tuple((cell.behavior, repr(e.method), e.direction, e.strength) for e in steering(cell))


def share_of(cell: Cell, blocks: int) -> float:
    """The share of the blocks that a branch runs through: those above its lowest layer, or all."""
    return share_above([element.method for element in steering(cell)], blocks)


def share_above(methods: Sequence[Method], blocks: int) -> float:
    """The same of what some methods do together."""
    third = (blocks - 1) / 3  # where an open one may be
    layers = [third if layer == "auto" else layer for layer in (m.settings().get(LAYER, 0) for m in methods)]
    known = [layer for layer in layers if isinstance(layer, int | float)]
    return (blocks - 1 - min(known)) / blocks if known and len(known) == len(layers) else 1.0


def steering(cell: Cell) -> list[Element]:
    """The elements of a cell that are likely to change activations alone."""
    return [e for e in cell.elements if e.strength and e.method.dosed and not e.method.adapts]


def run_together(lm: LM, items: Sequence[Item], plan: Plan) -> Callable[[int], list[tuple[list[Tokens], int]]]:
    """By how many branches each has: prompts of questions that are run together, and the tokens of a branch behind one.

    They are all questions where letters are asked; texts are padded to few sizes, each a set of its own.
    """
    asked = [question.shown for question in questions(items, plan.orders)]
    if not any(shown.texts for shown in asked):
        prompts = question_prompts(lm, items, plan)
        return lambda branches: [(prompts, ANSWER_TOKENS)]
    tails = [completion_tails(lm, i, lm.prompt(shown.question), shown.texts) for i, shown in enumerate(asked)]
    return partial(_sets, tails)


def _sets(tails: Sequence[CompletionTails], branches: int) -> list[tuple[list[Tokens], int]]:
    entries = [part for each in tails for part in each.apart(branches)]
    sets: dict[tuple[int, int], list[Tokens]] = {}
    for count in sorted({len(entry.tails) for entry in entries}):
        alike = [entry for entry in entries if len(entry.tails) == count]
        for entry, size in zip(alike, shared_sizes([entry.size - 1 for entry in alike]), strict=True):
            sets.setdefault((count, size), []).append(entry.prefix)
    return [(prompts, count * size) for (count, size), prompts in sets.items()]


def question_prompts(lm: LM, items: Sequence[Item], plan: Plan) -> list[Tokens]:
    """The prompts of all questions without their last token, which each branch runs itself."""
    return [tuple(lm.tokenize(lm.prompt(q.shown.question))[:-1]) for q in questions(items, plan.orders)]


def branch_tokens(lm: LM, items: Sequence[Item], plan: Plan) -> float:
    """Tokens that a branch runs of each question: up to its letter, or all of its texts, padded to the longest."""
    texts = [question.shown.texts for question in questions(items, plan.orders)]
    if not any(texts):
        return ANSWER_TOKENS
    return sum(len(each) * max(1 + len(lm.tokenize(text)) for text in each) for each in texts) / len(texts)


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
