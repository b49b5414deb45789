"""Choices: the behavior's own questions, the measurement that every run has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparisons import stats
from comparisons.dataset.items import Item, Measure
from comparisons.evaluation.across import bounds
from comparisons.evaluation.cells import choice_results
from comparisons.evaluation.interface import (
    NOISE,
    Asking,
    CellResult,
    CellToAsk,
    Evaluation,
    MeasuredCell,
    MeasuredRows,
)
from comparisons.evaluation.measures import (
    Paired,
    clusters,
    enough,
    interval,
    item_measures,
    letter_habit,
    letter_shifts,
    letter_split,
    paired,
    shared,
    spread,
)
from comparisons.evaluation.noise import numerical_noise
from comparisons.evaluation.questions import CHOICES
from comparisons.evaluation.tally import Tally
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.results.findings import BROKEN, FEW
from comparisons.results.gates import LETTERISH
from comparisons.results.schema import Fits, Noise

LEAST = 2
"""Items that a label must have to be shown."""

LABELLED = 30
"""Items that a label must have for an interval: of skewed shifts the nominal 95% cover .41 with 2 and .89 with 10."""


@dataclass(frozen=True)
class Choices(Evaluation):
    """The probability of the matching choice, and its shift against the baseline."""

    every_fit = True
    place = 0

    @classmethod
    def of(cls, spec: Specification) -> Choices:
        return cls()

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        name = cells[0].fields["behavior"]
        results = choice_results(asking, asking.plan.asked(name), CHOICES, cells)
        for cell, result in zip(cells, results, strict=True):
            if cell.elements or result.error is not None:
                continue
            if (noise := numerical_noise(asking.fitters[name], asking.plan.orders)) is not None:
                result.info[NOISE] = noise
        return results

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        if cells:
            tally.ask(plan.asked(cells[0].behavior), plan, cells)

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any]:
        plan, behavior = cell.plan, cell.cell.behavior
        letters = plan.measure == "letters"
        warnings = [
            *cautions(cell.cell, plan.asked(behavior), plan.behaviors[behavior].train, letters),
            *letter_caution(cell.own.info.get("letter_cosine")),
            *untouched_caution(cell.own.info.get("untouched")),
        ]
        level = {**level_numbers(cell.own, plan.measure, cell.noise, cell.seed), "measure": plan.measure}
        if cell.is_baseline:
            return {**level, "warnings": warnings}
        shift = shift_numbers(cell.own, cell.baseline, cell.cell.direction, plan.measure, cell.noise, cell.seed)
        labels = {item.id: item.label for item in plan.asked(behavior)}
        return {
            **level,
            **shift,
            **label_shifts(cell.paired(CHOICES), labels, cell.seed),
            "warnings": [*warnings, *noise_caution(shift["shift"], cell.noise)],
        }


def level_numbers(own: MeasuredRows, measure: Measure, noise: Noise | None, seed: int) -> dict[str, Any]:
    """What a cell's own choices are, by the summary's keys.

    Args:
        own: its rows.
        measure: by what they were asked.
        noise: of the model's rounding.
        seed: of the interval.
    """
    measures, letters = own.measures(CHOICES), measure == "letters"
    lost = float(measures.lost.mean()) if letters else None
    groups = clusters(measures.items, own.templates(CHOICES))
    seeds = stats.seed_error([spread(own.rows, CHOICES, "p_match", measures.items, groups)])
    ends = interval(measures.p_match, groups, seed, shared("level", noise), seeds)
    return {
        "n_items": len(measures.items),
        "p_match": float(measures.p_match.mean()),
        "p_match_ci": ends if ends is None or not seeds.deviation else [max(0.0, ends[0]), min(1.0, ends[1])],
        NOISE: noise,
        "preferred": float((measures.content > 0).mean()),
        "letter_bias": stats.letter_bias(measures.p_first) if letters else None,
        "lost_mass": lost,
        "broken": lost is not None and lost > BROKEN,
        **(letter_habit(own.rows, CHOICES) if letters else {}),
    }


def shift_numbers(
    own: MeasuredRows, baseline: MeasuredRows, direction: str | None, measure: Measure, noise: Noise | None, seed: int
) -> dict[str, Any]:
    """What a cell's choices are against the baseline's, by the summary's keys.

    Args:
        own, baseline: the rows of both.
        direction: the cell's.
        measure: by what they were asked.
        noise: of the model's rounding.
        seed: of the intervals.
    """
    pair = own.against(baseline, CHOICES, noise)
    flips = stats.mcnemar(pair.before > 0.5, pair.after > 0.5)
    splits = letter_split(own.rows, CHOICES), letter_split(baseline.rows, CHOICES)
    split = letter_shifts(*splits, own.templates(CHOICES), seed, noise, pair.content_seeds)
    if measure == "answers":  # which have one order and no letter
        split = {"content_shift": float(pair.content.mean()), "content_shift_ci": pair.content_interval(seed)}
    error = stats.standard_error(pair.difference, clusters=pair.clusters)
    return {
        "n_items": len(pair.difference),
        "shift": float(pair.difference.mean()),
        "shift_ci": pair.interval(seed),
        "shift_error": None if error is None else math.hypot(error, pair.seeds.deviation),
        "fits": fits_of(own, baseline, pair, error),
        "flips": {"gained": flips.gained, "lost": flips.lost, "p_value": flips.p_value},
        "detectable_shift": stats.minimum_detectable_shift(pair.difference, clusters=pair.clusters),
        "anti_steerable": stats.anti_steerable(pair.content, "neg" if direction == "neg" else "pos"),
        **split,
    }


def fits_of(own: MeasuredRows, baseline: MeasuredRows, pair: Paired, error: float | None) -> Fits | None:
    """What a cell's fits by several seeds, or its single one, did; None of one that draws nothing at random."""
    seeds = own.info.get("seeds")
    if not seeds:
        return None
    plain, shifts = baseline.measures(CHOICES), list[float]()
    for seed in seeds:
        rows = [row for row in own.rows if row.get("seed", seed) == seed]
        shifts.append(float(paired(item_measures(rows, CHOICES), plain, {}).difference.mean()))
    several = len(seeds) > 1
    return {
        "seeds": list(seeds),
        "shifts": shifts,
        "deviation": pair.seeds.deviation * math.sqrt(len(seeds)) if several else None,
        "question_error": error,
        "seed_error": pair.seeds.deviation if several else None,
    }


def cautions(cell: Cell, asked: Sequence[Item], trained: Sequence[Item], letters: bool = True) -> list[str]:
    """Warnings of too few items, and where letters are measured of items that all match under one.

    Args:
        cell: the cell.
        asked: the questions behind its numbers.
        trained: the training pairs; they count where the cell has fitted something.
        letters: whether letters are measured.
    """
    found = [f"only {len(asked)} questions: too few for the interval to mean much"] if len(asked) < FEW else []
    letter = only_letter(asked) if letters else None
    if letter is not None:
        found.append(f"every question has its matching choice under ({letter}) as given")
    if any(element.method.fits != "never" for element in cell.elements):
        if 0 < len(trained) < FEW:
            found.append(f"fitted on only {len(trained)} pairs")
        letter = only_letter(trained) if letters else None
        if letter is not None:
            found.append(
                f"every training pair has its matching choice under ({letter}): what was fitted may be a liking for "
                "that letter"
            )
    return found


def letter_caution(cosine: float | None) -> list[str]:
    """The warning of a vector that is largely the direction between the letters, by its cosine with that."""
    if cosine is None or abs(cosine) <= LETTERISH:
        return []
    return [
        f"the vector is largely the direction between the letters (cosine {cosine:+.2f}): its shift is in part a "
        "liking for a letter; --measure answers asks without letters"
    ]


def untouched_caution(names: Sequence[str] | None) -> list[str]:
    """The warning of an adapter that leaves some weights of the blocks as they are, as those of experts."""
    return [f"its adapter leaves weights of the blocks as they are: {', '.join(names)}"] if names else []


def noise_caution(shift: float, noise: Noise | None) -> list[str]:
    """The warning of a shift that is smaller than what rounding does to a question."""
    if noise is None or abs(shift) >= noise["mean"]:
        return []
    return [f"within the numerical noise: rounding alone moves a question's p_match by {noise['mean']:.2g} in the mean"]


def only_letter(items: Sequence[Item]) -> str | None:
    """The letter under which every item has its matching choice; None where they differ, or where there is one item."""
    letters = {item.matching for item in items}
    return letters.pop() if len(letters) == 1 and len(items) > 1 else None


def _widened(effect: stats.Effect, error: stats.SharedError) -> list[float] | None:
    """An effect's interval with an error that its items share; so do two labels, whose difference has none."""
    found = effect.interval
    return bounds(None if found is None else error.widened(found, effect.mean))


def label_shifts(pair: Paired, labels: Mapping[str, str | None], seed: int) -> dict[str, Any]:
    """The shift of each label and the labels' differences, by the summary's keys.

    Args:
        pair: the cell against its baseline.
        labels: item -> its label.
        seed: of the intervals.

    Returns:
        "labels": label -> {"n_items", "shift", "ci"}, sorted by label; "label_differences": for each two labels
        {"first", "second", "shift", "ci"}, the second's shift minus the first's. Empty unless two labels have
        `LEAST` items each; labels with fewer are left out.
    """
    counts = Counter(label for item in pair.items if (label := labels.get(item)) is not None)
    usable = sorted(label for label, count in counts.items() if count >= LEAST)
    if len(usable) < 2:
        return {}
    # The order of the items is that of the labels, so that "false" is subtracted from "true".
    order = sorted(range(len(pair.items)), key=lambda i: labels.get(pair.items[i]) or "")
    chosen = [i for i in order if labels.get(pair.items[i]) in usable]
    named = [labels[pair.items[i]] for i in chosen]
    groups = [i if pair.clusters is None else pair.clusters[i] for i in chosen]
    split = stats.by_label(pair.difference[chosen], named, clusters=groups, seed=seed)
    own = {label: [group for name, group in zip(named, groups, strict=True) if name == label] for label in usable}
    large = {label for label in usable if counts[label] >= LABELLED and enough(counts[label], own[label])}
    error = shared("shift", pair.noise)
    return {
        "labels": {
            str(label): {
                "n_items": effect.count,
                "shift": effect.mean,
                "ci": _widened(effect, error) if label in large else None,
            }
            for label, effect in split.effects.items()
        },
        "label_differences": [
            {
                "first": found.first,
                "second": found.second,
                "shift": found.mean,
                "ci": bounds(found.interval) if {found.first, found.second} <= large else None,
            }
            for found in split.differences
        ],
    }
