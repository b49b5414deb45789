"""The model card's figures, measured on a finished run of all behaviors and on the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparisons.dataset.behaviors import Behavior, Item
from comparisons.engine.choices import choice_logps
from comparisons.engine.generate import generate
from comparisons.evaluation.measures import interval
from comparisons.evaluation.questions import questions
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.running.planning import make_plan
from comparisons.running.runner import CellRunner
from comparisons.util.directions import DIRECTIONS

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
RANDOM_VECTORS = 20
ANSWER_TOKENS = 40
SIGN = {"pos": 1.0, "neg": -1.0}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """Per-item probabilities of the matching choice on one set of questions.

    Attributes:
        p: [interventions, items], averaged over the two orders.
        by_order: [interventions, 2], the mean in each order.
        letter_bias: [interventions].
        lost_mass: [interventions].
    """

    p: np.ndarray
    by_order: np.ndarray
    letter_bias: np.ndarray
    lost_mass: np.ndarray


def score(lm: LM, items: Sequence[Item], interventions: Sequence[Intervention]) -> Scores:
    """Evaluates items in both orders."""
    asked = questions(items)
    logps = choice_logps(lm, [q.shown for q in asked], interventions).logps.astype(float)
    p = 1 / (1 + np.exp(logps[..., 1] - logps[..., 0]))
    first = np.array([q.shown.matching < q.shown.contrast for q in asked])
    orders = p.reshape(len(interventions), len(items), 2)
    return Scores(
        p=orders.mean(axis=2),
        by_order=orders.mean(axis=1),
        letter_bias=np.where(first, p, 1 - p).mean(axis=1) - 0.5,
        lost_mass=1 - np.exp(logps).sum(axis=2).mean(axis=1),
    )


def figures(plan: Plan, bench: Callable[[str], Fitter], run: Callable[[Fitter], CellRunner]) -> Figures:
    """Every figure of the card, behavior by behavior.

    Args:
        plan: of a run of stacks on behaviors, with a dev split.
        bench: where a behavior's methods are fitted.
        run: how its cells are built.
    """
    found: Figures = {"behaviors": {}}
    for name, behavior in plan.behaviors.items():
        place = bench(name)
        cells = [cell for cell in plan.cells if cell.behavior == name and cell.elements]
        builder = run(place)
        built = {cell: builder.build(cell).built.intervention for cell in cells}
        found["behaviors"][name] = {
            "baseline": _baseline(place.lm, behavior),
            "prompts": _prompts(place.lm, behavior),
            "vectors": {
                cell.label: _vector(plan, place, cell, intervention)
                for cell, intervention in built.items()
                if cell.direction == "pos" and len(cell.elements) == 1 and intervention.edits
                # One vector serves all strengths: any of its cells will do.
            },
            "open_ended": _open_ended(place.lm, behavior, built),
        }
    if plan.knowledge is not None:
        scores = score(bench(next(iter(plan.behaviors))).lm, plan.knowledge.items, [Intervention()])
        found["knowledge"] = {
            "given": float(scores.by_order[0, 0]),
            "swapped": float(scores.by_order[0, 1]),
            "lost_mass": float(scores.lost_mass[0]),
            "letter_bias": float(scores.letter_bias[0]),
        }
    return found


def _baseline(lm: LM, behavior: Behavior) -> Figures:
    scores = score(lm, behavior.test, [Intervention()])
    return {
        "p_match": float(scores.p.mean()),
        "spread": float(scores.p.std()),
        "quartiles": np.quantile(scores.p[0], [0.25, 0.75]).round(3).tolist(),
        "letter_bias": float(scores.letter_bias[0]),
        "lost_mass": float(scores.lost_mass[0]),
    }


def _prompts(lm: LM, behavior: Behavior) -> Figures:
    """Shifts of the system prompts and of their paraphrases, which training never saw."""
    found: Figures = {}
    for direction in DIRECTIONS:
        others = (behavior.paraphrases or {}).get(direction, ())
        texts = [behavior.system_prompt(direction), *others]
        scores = score(lm, behavior.test, [Intervention(), *(Intervention(system=text) for text in texts)])
        shifts = scores.p[1:].mean(axis=1) - scores.p[0].mean()
        found[direction] = {"prompt": float(shifts[0]), "paraphrases": shifts[1:].round(4).tolist()}
    return found


def _vector(plan: Plan, bench: Fitter, cell: Cell, chosen: Intervention) -> Figures:
    """A steering vector at the strength that dev prefers, beside random vectors of its norm."""
    edit = chosen.edits[0]
    doses = [(s, d) for s in STRENGTHS for d in DIRECTIONS]
    steered = [_with(edit, SIGN[d] * s) for s, d in doses]
    dev = score(bench.lm, bench.behavior.dev, [Intervention(), *steered]).p.mean(axis=1)
    two_sided = {s: float(dev[1 + 2 * i] - dev[2 + 2 * i]) / 2 for i, s in enumerate(STRENGTHS)}
    strength = max(two_sided, key=lambda s: two_sided[s])
    best = [_with(edit, SIGN[d] * strength) for d in DIRECTIONS]
    test = score(bench.lm, bench.behavior.test, [Intervention(), *best, *_randomly(edit, strength)])
    shift = test.p - test.p[0]
    groups = [item.template for item in bench.behavior.test]
    drift = np.abs(shift[3::2].mean(axis=1) - shift[4::2].mean(axis=1)) / 2
    found: Figures = {
        "layer": edit.layer,
        "strength": strength,
        "dev_two_sided_by_strength": two_sided,
        "random_two_sided": {"mean": float(drift.mean()), "most": float(drift.max())},
        "two_sided": float(shift[1].mean() - shift[2].mean()) / 2,
    }
    for i, direction in enumerate(DIRECTIONS, start=1):
        found[direction] = {"shift": float(shift[i].mean()), "ci": interval(shift[i], groups, plan.spec.seed)}
    if plan.knowledge is not None:
        known = score(bench.lm, plan.knowledge.items, [Intervention(), *best]).p.mean(axis=1)
        found["cost"] = (known[0] - known[1:]).round(4).tolist()
    return found


def _with(edit: Edit, multiplier: float) -> Intervention:
    return Intervention(edits=(Edit(edit.layer, edit.vector, multiplier=multiplier),))


def _randomly(edit: Edit, strength: float) -> Iterable[Intervention]:
    """Random vectors of the edit's norm, each in both directions."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for _ in range(RANDOM_VECTORS):
        vector = torch.randn(edit.vector.shape, generator=generator)
        vector = vector * (edit.vector.norm() / vector.norm())
        for sign in (1.0, -1.0):
            yield Intervention(edits=(Edit(edit.layer, vector, multiplier=sign * strength),))


def _open_ended(lm: LM, behavior: Behavior, built: Mapping[Cell, Intervention]) -> list[Figures]:
    """How many free answers show the behavior, and how many its opposite, by the generator's own sentences."""
    prompts = [prompt.question for prompt in behavior.open_ended]
    answers = generate(lm, prompts, [Intervention(), *built.values()], ANSWER_TOKENS)
    places = [("baseline", None, None), *((cell.label, cell.direction, cell.strength) for cell in built)]
    return [
        {"method": m, "direction": d, "strength": s, **counted(behavior, texts), "samples": texts[:3]}
        for (m, d, s), texts in zip(places, answers, strict=True)
    ]


def counted(behavior: Behavior, answers: Sequence[str]) -> dict[str, int]:
    """Answers that hold a sentence of one side only; the rest show neither."""
    sides = {d: [any(s in text for s in (behavior.truth or {})[d]) for text in answers] for d in DIRECTIONS}
    pairs = list(zip(sides["pos"], sides["neg"], strict=True))
    return {"pos": pairs.count((True, False)), "neg": pairs.count((False, True)), "of": len(answers)}


def measure(run: Path) -> Figures:
    """The figures for a finished run of `compare run`, whose choices and fits are used again."""
    from comparisons.model.loading import load
    from comparisons.model.source import ModelSource
    from comparisons.results.folder import RUN, RunFolder
    from comparisons.running.progress import Silent
    from comparisons.util.artifacts import CHECKPOINTS, Store
    from comparisons.util.files import read_json

    facts = read_json(run / RUN, "run")
    given = facts["specification"]
    plan = make_plan(
        Specification(
            model=ModelSource(given["model"]),
            behaviors=tuple(given["behaviors"]),
            stacks=tuple(given["stacks"]),
            data=Path(given["data"]) if given["data"] else None,
            strengths=tuple(given["strengths"]),
            settings=given["settings"],
            seed=given["seed"],
        )
    )
    lm, store, folder = load(plan.spec.model), Store(CHECKPOINTS), RunFolder(run, facts["digest"])

    def bench(name: str) -> Fitter:
        siblings = {other: behavior for other, behavior in plan.behaviors.items() if other != name}
        return Fitter(lm, plan.behaviors[name], siblings, store, plan.spec.seed)

    try:
        return figures(plan, bench, lambda place: CellRunner(plan, place, folder, Silent()))
    finally:
        folder.close()
