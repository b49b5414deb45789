"""What a run will cost, before it is begun: cells, forward passes, tokens, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from comparisons.dataset.behaviors import Behavior
from comparisons.dataset.items import Item
from comparisons.dataset.splits import draw
from comparisons.engine.plan import Tokens
from comparisons.evaluation.interface import Evaluation
from comparisons.evaluation.registry import calling, evaluation_of, evaluations_of
from comparisons.evaluation.tally import (
    ANSWER_TOKENS,
    Tally,
    branch_tokens,
    question_prompts,
    run_together,
    share_above,
    steering,
)
from comparisons.evaluations.kl import Kl, prompts_of
from comparisons.evaluations.open_ended import FreeAnswers
from comparisons.experiment.fitting import on_one_text
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.method.interface import Method
from comparisons.model.lm import LM
from comparisons.model.loading import load_without_weights
from comparisons.model.meter import Work
from comparisons.report.asked import asked_by
from comparisons.running.asking import asked_together
from comparisons.running.choosing import candidates_each, search_direction
from comparisons.running.executor import check_layers
from comparisons.running.planning import fit_seeds, make_plan
from comparisons.running.trials import element_trials, stacks_of
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError

TRIED_TOGETHER, TRIED_ALONE = 13, 5
"""About how many strengths `--match` tries of a cell, of vectors and of adapters."""

REPORT_SECONDS, MAP_SECONDS = 4.5, 2.5
"""The most that summary, report and the program's end take when all is asked, and about what a sweep's maps do."""

LIBRARY_SECONDS = time.process_time()
"""The processor's in which they were loaded: a machine slow at that is slow at the report too."""

REPORT_SHARE = 1.5
"""About how many times that the report takes."""

COUNTED = 4096
"""Training pairs that are tokenized for an estimate."""

SHOWN = 40
"""Cells that are listed by name; of more, the number is enough."""


UNSETTLED = (
    "\ncounted by letters; the run first asks the model whether it can use them, and if not measures by the answers' "
    "texts, which takes more"
)


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take; it assumes that nothing is in the store yet.

    Attributes:
        asked: a line of which data and knowledge questions.
        keys: of the cells, with the number of fits where several seeds make several.
        forwards: passes of the model over a batch.
        tokens: run through the model, fits included; a training token counts as three.
        seconds: at the matrix rate measured on this machine.
        answers: free answers that each judge is asked about, at most.
        judges: their names.
        rated: answers on dev, about, of which the first judge that rates coherence is asked that alone.
        unsettled: whether the models are still to be asked by what they are measured; letters are counted.
    """

    asked: str
    keys: tuple[str, ...]
    forwards: int
    tokens: int
    seconds: float
    answers: int = 0
    judges: tuple[str, ...] = ()
    unsettled: bool = False
    rated: int = 0

    def text(self) -> str:
        """The estimate for people."""
        cells = "\n".join(f"  {key}" for key in self.keys[:SHOWN])
        cells += f"\n  … and {len(self.keys) - SHOWN} more" if len(self.keys) > SHOWN else ""
        minutes = self.seconds / 60
        took = f"{minutes:.0f} min" if minutes >= 2 else f"{self.seconds:.0f} s"
        return (
            f"{self.asked}\n{len(self.keys)} cells:\n{cells}\n"
            f"about {self.forwards} forward passes, {self.tokens:,} tokens, {took} on this machine's CPU "
            f"or several times less on a GPU; what is already fitted is not fitted again{self._judging()}"
            f"{UNSETTLED if self.unsettled else ''}"
        )

    def _judging(self) -> str:
        if not self.judges:
            return ""
        named = ", ".join(self.judges)
        dev = f"; and about {self.rated:,} on dev, of which one of them rates the coherence" if self.rated else ""
        return f"\nup to {self.answers:,} free answers for {named}: a score, and coherence by judges that rate it{dev}"


def estimate(spec: Specification) -> Estimate:
    """Estimates a run from its specification, the tokenizer and the model's configuration; no weights are loaded."""
    plan, forwards, tokens, seconds, rated = make_plan(spec), 0, 0.0, _report_seconds(spec), 0
    for source in spec.sources:
        tally = _count(plan.of(source), load_without_weights(source))
        forwards, tokens, seconds = forwards + tally.forwards, tokens + tally.tokens, seconds + tally.seconds
        rated += tally.rated
    fits = [f", {len(cell.seeds)} fits" if len(cell.seeds) > 1 else "" for cell in plan.cells]
    keys, asked = tuple(cell.key + text for cell, text in zip(plan.cells, fits, strict=True)), spec.open_ended
    answers = sum(len(plan.behaviors[cell.behavior].open_ended) for cell in plan.cells) if asked else 0
    judges, unsettled = asked.judges if asked else (), plan.spec.measure == "auto"
    return Estimate(asked_by(plan), keys, forwards, int(tokens), seconds, answers, judges, unsettled, rated)


def work_of(plan: Plan, lm: LM) -> Work | None:
    """The work of a plan of one loaded model, report included, of which nothing is done; None where one can't say."""
    try:
        tally = _count(plan, lm)
    except CompareError:  # an evaluation of somebody's that can't say what it costs
        return None
    return Work(tally.seconds, tally.costs, _report_seconds(plan.spec), tally.fitting)


def _report_seconds(spec: Specification) -> float:
    return min(REPORT_SECONDS, REPORT_SHARE * LIBRARY_SECONDS) + (MAP_SECONDS if spec.layers else 0.0)


def _count(plan: Plan, lm: LM) -> Tally:
    """Counts what a plan of one model runs."""
    check_layers(plan, lm)
    tally, evaluations, together = Tally(lm), evaluations_of(plan.spec), asked_together(plan.cells)
    for name, evaluation in evaluations.items():
        _ask(tally, plan, name, evaluation, together if evaluation.across else ())
    for behavior in plan.behaviors.values():
        cells = [cell for cell in plan.cells if cell.behavior == behavior.name]
        for name, evaluation in evaluations.items():
            _ask(tally, plan, name, evaluation, [c for c in cells if not (evaluation.across and c in together)])
        _count_further_fits(tally, plan, cells)
        _count_fits(tally, plan, behavior, cells)
        if plan.spec.select is not None:
            _count_selection(tally, plan, behavior, cells)
        if plan.spec.match is not None:
            _count_matching(tally, plan, cells)
    return tally


def _ask(tally: Tally, plan: Plan, name: str, evaluation: Evaluation, cells: Sequence[Cell]) -> None:
    """Counts what an evaluation asks; what it asks under adapters once more by itself, as that takes longer."""
    alone, adapted = Tally(tally.lm), [cell for cell in cells if any(e.method.adapts for e in cell.elements)]
    with calling(name, evaluation):
        evaluation.cost(tally, plan, cells)
        if adapted:
            evaluation.cost(alone, plan, adapted)
    tally.slower += (tally.costs.adapted - 1) * tally.costs.seconds(alone.forwards, alone.tokens)


def _count_further_fits(tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
    """Counts what fits by further seeds are asked."""
    for step in range(1, plan.spec.seeds):
        further = [cell for cell in cells if len(cell.seeds) > step]
        for name, evaluation in evaluations_of(plan.spec).items():
            if evaluation.every_fit and further:
                _ask(tally, plan, name, evaluation, further)


def _count_fits(tally: Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    """Counts each fit once, however many layers and strengths use it, and each choice on dev."""
    # Of very many pairs some thousands are counted, and stand for all.
    pairs = behavior.train if len(behavior.train) <= COUNTED else draw(behavior.train, COUNTED, plan.spec.seed)
    train, share = (
        question_prompts(tally.lm, pairs, plan)[:: len(plan.orders)],
        len(behavior.train) / max(1, len(pairs)),
    )
    read = branch_tokens(tally.lm, pairs, plan) if plan.measure == "answers" else 2 * ANSWER_TOKENS
    fits: dict[object, tuple[Method, int]] = {}
    choices: dict[object, dict[tuple[str, Direction], Method]] = {}
    for element in (element for cell in cells for element in cell.elements):
        method, direction = element.method, element.direction if element.method.fits == "direction" else None
        candidates = list(method.candidates(len(tally.lm.blocks)))
        search = search_direction(candidates, plan.spec.directions) if plan.spec.select is None else None
        if search and direction != search:
            # One of the fits is made in this direction, whichever it will be.
            candidates = [each for each in candidates if each.fit_settings() == candidates[-1].fit_settings()]
        for each in candidates or [method]:
            key = element.name, repr(sorted(each.fit_settings().items(), key=str)), direction
            # Seeds fit anew what was chosen, and the choice is made among fits by the first.
            again = len(fit_seeds(plan.spec, [element])) or 1
            fits[key] = each, again if each is (candidates or [method])[-1] else 1
        tried = {(repr(each), element.direction): each for each in candidates}
        if tried:
            choices.setdefault((element.name, repr(method)), {}).update(tried)
    if plan.measure == "letters" and any(map(steering, cells)):
        tally.add(train, read, times=share)  # the direction between the letters, which every vector is compared with
    for method, times in fits.values():
        answers = read / 2 if on_one_text(method, plan.measure) else read
        tally.fit(train, answers, share * method.fit_passes() * times, trains=method.fits == "direction")
    dev = run_together(tally.lm, behavior.dev if choices else (), plan)
    for tried in choices.values():
        adapted = [method for method in tried.values() if method.adapts]
        # Those that steer share their passes with the unchanged model, each from its layer on.
        shares = [share_above([method], len(tally.lm.blocks)) for method in tried.values() if not method.adapts]
        for prompts, answer in dev(1 + len(shares)):
            tally.add(prompts, answer * (1 + sum(shares)))
        for prompts, answer in dev(1) if adapted else ():
            with tally.adapted():
                tally.add(prompts, answer, times=len(adapted))


def _count_selection(tally: Tally, plan: Plan, behavior: Behavior, cells: Sequence[Cell]) -> None:
    """Counts each stack's trials on the dev questions of the behavior, and on what is held out for the limits."""
    blocks, most = len(tally.lm.blocks), candidates_each(plan, len(tally.lm.blocks))
    limited = [_held_out(tally, plan, quantity, behavior.name) for quantity in plan.spec.limits]
    rated = len(plan.open_dev.get(behavior.name, ()))
    sets = [_questions(tally, plan, behavior.dev), *limited]
    tried: set[object] = set()
    for group in stacks_of(cells):
        for place, element in enumerate(group[0].elements):
            last = place == len(group[0].elements) - 1
            # Below the last, an element with open settings is tried alone, once for all stacks.
            key = (element.name, repr(element.method)) if not last or place == 0 else (group[0].label, group[0].varied)
            if key in tried or not (last or element.method.candidates(blocks)):
                continue
            tried.add(key)
            count = sum(len(trial.elements) for trial in element_trials(group, place, blocks, most))
            adapts = any(e.method.adapts for e in (group[0].elements if last else (element,)))
            tally.rated += rated * count
            with tally.adapted() if adapts else nullcontext():
                for prompts, answer in sets:
                    tally.add(prompts, answer * (1 if adapts else count), times=count if adapts else 1)


def _count_matching(tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
    """Counts the strengths that are tried for each cell with a dose: one by one where each is a pass of its own."""
    assert plan.spec.wanted is not None
    behavior = cells[0].behavior
    prompts, answer = _held_out(tally, plan, plan.spec.wanted.quantity, behavior)
    for cell in cells:
        dosed = [element for element in cell.elements if element.method.dosed]
        alone = bool(dosed) and dosed[-1].method.adapts
        if alone:
            with tally.adapted():
                tally.add(prompts, answer, times=TRIED_ALONE)
        elif dosed:
            tally.add(prompts, answer * TRIED_TOGETHER)
        if dosed:
            tally.rated += len(plan.open_dev.get(behavior, ())) * (TRIED_ALONE if alone else TRIED_TOGETHER)


def _questions(tally: Tally, plan: Plan, items: Sequence[Item]) -> tuple[list[Tokens], float]:
    """Prompts, and the tokens that a branch runs of each."""
    return question_prompts(tally.lm, items, plan), branch_tokens(tally.lm, items, plan)


def _held_out(tally: Tally, plan: Plan, quantity: str, behavior: str) -> tuple[list[Tokens], float]:
    """The same of what a quantity is measured on to choose by."""
    if quantity == "cost":
        return _questions(tally, plan, plan.knowledge_dev)
    if quantity == "coherence":
        asked, writer = evaluation_of(plan.spec, FreeAnswers), tally.lm.prompts
        texts = [writer.free_text(prompt.question) for prompt in plan.open_dev[behavior]]
        most = asked.tokens + (asked.thought_tokens if writer.thinking else 0)
        return [tuple(tally.lm.tokenize(text)) for text in texts], most
    shown = [tuple(tally.lm.tokenize(tally.lm.prompt(prompt.question))) for prompt in prompts_of(plan).dev]
    return shown, evaluation_of(plan.spec, Kl).tokens
