"""What a run will cost, before it is begun: cells, forward passes, tokens, time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparisons.dataset.behaviors import Behavior, Item
from comparisons.dataset.splits import draw
from comparisons.engine.plan import Tokens, batches, family_batches, shared_head
from comparisons.evaluation.harness import HarnessSet, harness_sizes
from comparisons.evaluation.questions import questions
from comparisons.evaluations.generated import MAX_ANSWER_TOKENS
from comparisons.evaluations.random_ranks import N_RANDOM
from comparisons.evaluations.robustness import PLAIN, Condition, conditions
from comparisons.experiment.specification import LAYER, Cell, Element, Plan, Specification
from comparisons.method.interface import Method
from comparisons.model.lm import LM
from comparisons.model.loading import load_without_weights
from comparisons.running.executor import check_layers
from comparisons.running.planning import make_plan
from comparisons.running.selecting import candidates_each
from comparisons.running.shared_questions import asked_together
from comparisons.running.trials import element_trials, stacks_of

if TYPE_CHECKING:
    from comparisons.evaluation.requests import Sizes

ANSWER_TOKENS = 2
"""Tokens of a branch: the last of the prompt, and what stands before the letter."""

COUNTED = 4096
"""Training pairs that are tokenized for an estimate."""

SHOWN = 40
"""Cells that are listed by name; of more, the number is enough."""

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
        answers: free answers that each judge is asked about, at most.
        judges: their names.
    """

    keys: tuple[str, ...]
    forwards: int
    tokens: int
    seconds: float
    answers: int = 0
    judges: tuple[str, ...] = ()

    def text(self) -> str:
        """The estimate for people."""
        cells = "\n".join(f"  {key}" for key in self.keys[:SHOWN])
        cells += f"\n  … and {len(self.keys) - SHOWN} more" if len(self.keys) > SHOWN else ""
        minutes = self.seconds / 60
        took = f"{minutes:.0f} min" if minutes >= 2 else f"{self.seconds:.0f} s"
        return (
            f"{len(self.keys)} cells:\n{cells}\n"
            f"about {self.forwards} forward passes, {self.tokens:,} tokens, {took} on this machine's CPU "
            f"or several times less on a GPU; what is already fitted is not fitted again{self._judging()}"
        )

    def _judging(self) -> str:
        return f"\nup to {self.answers:,} free answers for {', '.join(self.judges)}" if self.judges else ""


@dataclass
class _Tally:
    lm: LM
    forwards: int = 0
    tokens: float = 0.0

    @property
    def seconds(self) -> float:
        """At the matrix rate measured on this machine."""
        seconds = self.tokens * 2 * self.lm.parameters / _matrix_rate(self.lm.width)
        return seconds + self.forwards * len(self.lm.blocks) * SECONDS_A_FORWARD_AND_BLOCK

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


def estimate(spec: Specification) -> Estimate:
    """Estimates a run from its specification, the tokenizer and the model's configuration; no weights are loaded."""
    plan, forwards, tokens, seconds = make_plan(spec), 0, 0.0, 0.0
    for source in spec.sources:
        tally = _count(plan.of(source), load_without_weights(source))
        forwards, tokens, seconds = forwards + tally.forwards, tokens + tally.tokens, seconds + tally.seconds
    keys, asked = tuple(cell.key for cell in plan.cells), spec.open_ended
    answers = sum(len(plan.behaviors[cell.behavior].open_ended) for cell in plan.cells) if asked else 0
    return Estimate(keys, forwards, int(tokens), seconds, answers, asked.judges if asked else ())


def _count(plan: Plan, lm: LM) -> _Tally:
    """Counts what a plan of one model runs."""
    check_layers(plan, lm)
    tally = _Tally(lm)
    together = asked_together(plan.cells)
    _count_common(tally, plan, together)
    for name, behavior in plan.behaviors.items():
        cells = [cell for cell in plan.cells if cell.behavior == name]
        _count_common(tally, plan, [cell for cell in cells if cell not in together])
        _count_evaluation(tally, plan, behavior, cells)
        _count_fits(tally, plan, behavior, cells)
        if plan.spec.select is not None:
            _count_selection(tally, plan, behavior, cells)
    return tally


def _groups(cells: Sequence[Cell], blocks: int) -> dict[object, dict[object, float]]:
    """By what changes the prefix, the branches of cells, each with the share of the blocks that it runs through."""
    groups: dict[object, dict[object, float]] = {}
    for cell in cells:
        # The plain branch is run whether a cell asks for it or not: the others grow out of it.
        groups.setdefault(_prefix(cell), {(): 1.0})[_branch(cell)] = _share(cell, blocks)
    return groups


def _count_common(tally: _Tally, plan: Plan, cells: Sequence[Cell]) -> None:
    """Counts what the cells of every behavior are asked, knowledge and side effects."""
    blocks, known = len(tally.lm.blocks), plan.knowledge
    if isinstance(known, HarnessSet):
        _count_tasks(tally, harness_sizes(tally.lm, known), cells, _groups(cells, blocks))
    knowledge = () if known is None or isinstance(known, HarnessSet) else known.items
    for name, items in {"": knowledge, **plan.side}.items():
        groups = _groups([cell for cell in cells if cell.behavior != name], blocks)
        prompts = _prompts(tally.lm, items, plan) if groups else []
        for shares in groups.values():
            tally.add(prompts, ANSWER_TOKENS * sum(shares.values()))


def _count_evaluation(tally: _Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    """Counts one prefill a question for all cells that share it, and their branches from their layers on."""
    groups, asked = _groups(cells, len(tally.lm.blocks)), plan.asked(behavior.name)
    # What has no dose is taken for a system prompt.
    prompted = {_prefix(cell) for cell in cells if not all(element.method.dosed for element in cell.elements)}
    prompts = _prompts(tally.lm, asked, plan)
    for shares in groups.values():
        tally.add(prompts, ANSWER_TOKENS * sum(shares.values()))
    for condition in conditions(tally.lm, behavior) if plan.spec.robustness else ():
        again = _prompts(tally.lm, asked, plan, condition)
        for prefix, shares in groups.items():
            if condition.applies(prefix in prompted):
                tally.add(again, ANSWER_TOKENS * sum(shares.values()))
    if plan.spec.generated_choices:
        for prefix in groups:
            tally.write(prompts, _branches(cells, prefix), MAX_ANSWER_TOKENS)
    if plan.spec.open_ended is not None:
        texts = [tuple(tally.lm.tokenize(tally.lm.prompt(prompt.question))) for prompt in behavior.open_ended]
        most = plan.spec.open_ended.tokens
        for prefix in groups:
            branches = _branches(cells, prefix)
            tally.write(texts, branches, most)
            tally.add(texts, branches * most)  # the answers' likelihood under the unchanged model
    if plan.spec.controls:
        for share in _ranked(cells, len(tally.lm.blocks)):
            tally.add(prompts, ANSWER_TOKENS * (1 + 2 * N_RANDOM * share))


def _count_tasks(
    tally: _Tally, sizes: Sizes, cells: Sequence[Cell], groups: Mapping[object, Mapping[object, float]]
) -> None:
    """Counts what tasks of the harness ask: continuations behind each prompt, and written answers."""
    prompts = [prompt[:-1] for prompt, _ in sizes.likelihoods]
    each = sum(1 + tokens for _, tokens in sizes.likelihoods) / max(1, len(prompts))
    for prefix, shares in groups.items():
        tally.add(prompts, each * sum(shares.values()))
        for most in sorted({most for _, most in sizes.texts}):
            tally.write([prompt for prompt, tokens in sizes.texts if tokens == most], _branches(cells, prefix), most)


def _branches(cells: Sequence[Cell], prefix: object) -> int:
    """How many different branches the cells of a prefix stand for."""
    return len({_branch(cell) for cell in cells if _prefix(cell) == prefix})


def _ranked(cells: Sequence[Cell], blocks: int) -> list[float]:
    """The share of the blocks that random directions run through, for each set of them: both directions share one."""
    found: dict[object, float] = {}
    for cell in cells:
        if steering := _steering(cell):
            key = (cell.label, cell.variant, tuple((repr(e.method), e.strength) for e in steering))
            found[key] = _share(cell, blocks)
    return list(found.values())


def _prefix(cell: Cell) -> object:
    """What is likely to share a prompt's cache: dosed methods that don't adapt weights steer activations."""
    return tuple((e.name, e.direction, e.strength) for e in cell.elements if e.method.adapts or not e.method.dosed)


def _branch(cell: Cell) -> object:
    """What is likely to run once however many cells stand for it: at strength 0 all equal the plain model."""
    return tuple((cell.behavior, repr(e.method), e.direction, e.strength) for e in _steering(cell))


def _share(cell: Cell, blocks: int) -> float:
    """The share of the blocks that a branch runs through: those above its lowest layer, or all."""
    layers = [element.method.settings().get(LAYER, 0) for element in _steering(cell)]
    known = [layer for layer in layers if isinstance(layer, int)]
    return (blocks - 1 - min(known)) / blocks if known and len(known) == len(layers) else 1.0


def _steering(cell: Cell) -> list[Element]:
    return [e for e in cell.elements if e.strength and e.method.dosed and not e.method.adapts]


def _count_fits(tally: _Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    """Counts each fit once, however many layers and strengths use it, and each choice on dev."""
    # Of very many pairs some thousands are counted, and stand for all.
    pairs = behavior.train if len(behavior.train) <= COUNTED else draw(behavior.train, COUNTED, plan.spec.seed)
    train, share = _prompts(tally.lm, pairs, plan)[:: len(plan.orders)], len(behavior.train) / max(1, len(pairs))
    dev = _prompts(tally.lm, behavior.dev, plan)
    fits: dict[object, Method] = {}
    choices: dict[object, list[Method]] = {}
    for element in (element for cell in cells for element in cell.elements):
        method, direction = element.method, element.direction if element.method.fits == "direction" else None
        candidates = list(method.candidates(len(tally.lm.blocks)))
        for each in candidates or [method]:
            fits[element.name, repr(sorted(each.fit_settings().items(), key=str)), direction] = each
        if len(candidates) > 1:
            choices[element.name, repr(method), direction] = candidates
    if any(map(_steering, cells)):
        tally.add(train, 4, times=share)  # the direction between the letters, which every vector is compared with
    for method in fits.values():
        tally.add(train, 4, times=share * method.fit_passes())
    for candidates in choices.values():
        if candidates[0].adapts:
            tally.add(dev, ANSWER_TOKENS, times=len(candidates))
        else:
            tally.add(dev, ANSWER_TOKENS * len(candidates))


def _count_selection(tally: _Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    """Counts each stack's trials on the dev questions of the behavior and of the knowledge set."""
    blocks, most = len(tally.lm.blocks), candidates_each(plan, len(tally.lm.blocks))
    sets = [_prompts(tally.lm, items, plan) for items in (behavior.dev, plan.knowledge_dev)]
    tried: set[object] = set()
    for group in stacks_of(cells):
        for place, element in enumerate(group[0].elements):
            last = place == len(group[0].elements) - 1
            # Below the last, an element with open settings is tried alone, once for all stacks.
            key = (element.name, repr(element.method)) if not last or place == 0 else (group[0].label, group[0].variant)
            if key in tried or not (last or element.method.candidates(blocks)):
                continue
            tried.add(key)
            count = sum(len(trial.elements) for trial in element_trials(group, place, blocks, most))
            adapts = any(e.method.adapts for e in (group[0].elements if last else (element,)))
            for prompts in sets:
                tally.add(prompts, ANSWER_TOKENS * (1 if adapts else count), times=count if adapts else 1)


def _prompts(lm: LM, items: Sequence[Item], plan: Plan, condition: Condition = PLAIN) -> list[Tokens]:
    """The prompts of all questions without their last token, which each branch runs itself."""
    reader, asked = condition.reader(lm), [condition.asked(q.shown) for q in questions(items, plan.orders)]
    return [tuple(reader.tokenize(reader.prompt(shown.question, condition.system))[:-1]) for shown in asked]


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
