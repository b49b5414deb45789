"""A vector's rank among random directions of its norm: what any push of that size would have done.

A fixed random vector does move items, so that an interval around its shift can exclude 0. A fitted vector is
therefore judged by how many random ones, put in its place, move the behavior as far: isotropic ones, and ones with
the spread of the contrast pairs' own differences, which a vector of shuffled labels equals in distribution. The
second is the stricter judge: activations differ most along few directions, and the model listens to those.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from comparisons import stats
from comparisons.engine.activations import contrast_differences
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell
from comparisons.evaluation.measures import ItemMeasures, item_measures
from comparisons.evaluation.questions import CHOICES, Question, item_choices, questions
from comparisons.evaluation.tally import Tally, branch_tokens, prefix_of, question_prompts, share_of, steering
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element, Specification
from comparisons.intervention import Edit, Intervention
from comparisons.method.vectors import READ, Reading, where_read
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

    Differences = Callable[[int], torch.Tensor]
    """Block -> the contrast pairs' differences at its output, [pairs, width] float64."""

N_RANDOM = 199
"""Random directions a vector is ranked among: the smallest two-sided rank is 2 in 200."""

QUANTILES = (0.025, 0.5, 0.975)

LEAST_PAIRS = 3
"""Contrast pairs below which their spread is no spread."""


@dataclass(frozen=True)
class RandomShifts:
    """What random directions do in the place of an intervention's vectors.

    Attributes:
        shifts: shift of the intervention with each isotropic direction in the place of its vectors.
        matched: the same with directions of the contrast pairs' spread; empty where there are none.
    """

    shifts: tuple[float, ...]
    matched: tuple[float, ...] = ()

    def rank_p(self, shift: float) -> float:
        """The two-sided rank of a shift; see `stats.rank_among`."""
        return stats.rank_among(shift, self.shifts).p_value

    def numbers(self, shift: float) -> dict[str, Any]:
        """The ranks of a shift and the bands, by the summary's keys."""
        found = {"random_rank_p": self.rank_p(shift), "random_shifts": _band(self.shifts), "n_random": len(self.shifts)}
        if self.matched:
            matched = RandomShifts(self.matched)
            found |= {"matched_rank_p": matched.rank_p(shift), "matched_shifts": _band(self.matched)}
        return found


def _band(shifts: Sequence[float]) -> list[float]:
    """The 2.5%, 50% and 97.5% quantiles."""
    return [float(value) for value in np.quantile(shifts, QUANTILES)]


@dataclass(frozen=True)
class RandomRanks(Evaluation):
    """The rank of a vector's shift among those of random directions."""

    later = True
    place = 1

    @classmethod
    def of(cls, spec: Specification) -> RandomRanks | None:
        return cls() if spec.controls else None

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> Iterator[CellResult]:
        """Evaluates random directions in the place of every cell's vectors, those of equal norm once."""
        behavior = cells[0].fields["behavior"]
        plain = item_measures(asking.baseline() or (), CHOICES)
        asked = questions(asking.plan.asked(behavior), asking.plan.orders)

        @cache
        def differences(read: Reading, layer: int) -> torch.Tensor:
            trained = asking.plan.behaviors[behavior]
            where = where_read(read, asking.plan.measure, trained)
            return contrast_differences(asking.lm, trained.train, [layer], where)[:, 0]

        known: dict[object, RandomShifts] = {}
        for cell in cells:
            found, read = cell.intervention.simplified(), reading_of(cell.elements)
            key = sharing_key(found), read
            try:
                if found.edits and key not in known:
                    spread = partial(differences, read)
                    known[key] = random_shifts(asking.lm, asked, plain, found, asking.plan.spec.seed, spread)
            except Exception as error:
                yield CellResult(error=error)
                continue
            shifts = known.get(key) if found.edits else None
            yield CellResult(info={"shifts": list(shifts.shifts), "matched": list(shifts.matched)} if shifts else {})

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        shares: dict[object, float] = {}
        for cell in cells:
            if steered := steering(cell):
                # Both directions share their random ones where they share their prompt.
                doses = tuple((repr(e.method), e.strength) for e in steered)
                key = (cell.label, cell.varied, prefix_of(cell), doses)
                shares[key] = share_of(cell, len(tally.lm.blocks))
        items = plan.asked(cells[0].behavior) if shares else []
        shown, each = question_prompts(tally.lm, items, plan), branch_tokens(tally.lm, items, plan)
        for share in shares.values():
            tally.add(shown, each * (1 + 2 * N_RANDOM * share))

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any] | None:
        found = cell.own.info.get(cell.evaluation) or {}
        if "error" in found:
            return {"warnings": [f"not ranked among random directions: {found['error']}"]}
        if not found.get("shifts"):
            return None
        shift = cell.first_shift(CHOICES)
        assert shift is not None
        return RandomShifts(tuple(found["shifts"]), tuple(found.get("matched", ()))).numbers(shift)


def reading_of(elements: Sequence[Element]) -> Reading:
    """Where a stack's topmost method that says so reads contrast pairs, in its setting "read"; else "auto"."""
    said = [element.method.settings().get(READ) for element in elements]
    return next((read for read in reversed(said) if read in get_args(Reading)), "auto")


def random_vectors(edit: Edit, count: int, generator: torch.Generator) -> torch.Tensor:
    """Random directions of an edit's norm, uniform on the sphere; [count, width], or [count, k, width] a row a norm."""
    import torch

    vector = edit.vector.detach().to("cpu").float()
    noise = torch.randn((count, *vector.shape), generator=generator)
    scaled: torch.Tensor = noise * (vector.norm(dim=-1) / noise.norm(dim=-1)).unsqueeze(-1)
    return scaled


def random_interventions(found: Intervention, count: int, seed: int) -> list[Intervention]:
    """The intervention with random directions in the place of all its vectors, everything else kept.

    Args:
        found: with edits.
        count: how many.
        seed: the run's; the same seed and edits give the same directions.
    """
    import torch

    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} random directions".encode()))
    return _replaced(found, [random_vectors(edit, count, generator) for edit in found.edits], count)


def matched_vectors(differences: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Gaussian vectors with the covariance of the differences, [count, width].

    Made of the pairs' differences by normal weights that sum to zero, as the signs of shuffled labels do: otherwise
    the true vector, the differences' mean, would be mixed in.

    Args:
        differences: [pairs, width]: activations of the matching minus the contrast answer.
        count: how many.
        generator: of the weights.
    """
    import torch

    weights = torch.randn((count, len(differences)), generator=generator, dtype=differences.dtype)
    return (weights - weights.mean(dim=1, keepdim=True)) @ differences / len(differences)


def matched_interventions(found: Intervention, differences: Differences, count: int, seed: int) -> list[Intervention]:
    """The intervention with vectors of the pairs' spread, at the old ones' norm, in the place of all its vectors.

    Args:
        found: with edits.
        differences: of the contrast pairs at a block's output.
        count: how many.
        seed: the run's.

    Returns:
        None of them where an edit is not of one vector at a block's output, or there are fewer than 3 pairs.
    """
    import torch

    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} matched directions".encode()))
    drawn = []
    for edit in found.edits:
        if edit.site != "block" or edit.vector.dim() != 1:
            return []
        pairs = differences(edit.layer)
        if len(pairs) < LEAST_PAIRS:
            return []
        vectors = matched_vectors(pairs, count, generator)
        norms = vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        drawn.append((vectors * (edit.vector.detach().double().cpu().norm() / norms)).float())
    return _replaced(found, drawn, count)


def _replaced(found: Intervention, drawn: Sequence[torch.Tensor], count: int) -> list[Intervention]:
    """The intervention with each of the drawn vectors, [count, …] an edit, in the place of its own."""
    return [
        replace(found, edits=tuple(replace(e, vector=v[i]) for e, v in zip(found.edits, drawn, strict=True)))
        for i in range(count)
    ]


def sharing_key(found: Intervention) -> object:
    """Equal for interventions among whose random directions there is no difference.

    As a random direction is as likely as its opposite, the sign of a multiplier makes none, except where the
    component along a vector is taken away, for which the vector's own sign makes none.
    """
    edits = tuple(
        (
            edit.layer,
            edit.site,
            edit.positions,
            edit.operation,
            edit.multiplier if edit.operation == "ablate" else abs(edit.multiplier),
            tuple(edit.vector.float().norm(dim=-1).reshape(-1).tolist()),
            edit.when and edit.when.digest,
        )
        for edit in found.edits
    )
    return replace(found, edits=()).prefix_key, edits


def random_shifts(
    lm: LM,
    asked: Sequence[Question],
    baseline: ItemMeasures,
    found: Intervention,
    seed: int,
    differences: Differences | None = None,
    count: int = N_RANDOM,
) -> RandomShifts:
    """Evaluates random directions in the place of an intervention's vectors, all behind one prefill a question.

    Args:
        lm: the model.
        asked: the questions of the cell.
        baseline: the unchanged model's measures on them.
        found: the cell's intervention, with edits.
        seed: of the directions.
        differences: of the contrast pairs, for directions of their spread; without, there are isotropic ones alone.
        count: how many of each.

    Raises:
        CompareError: a log-probability is not finite, or no question is left that the baseline has too.
    """
    tried = random_interventions(found, count, seed)
    if differences is not None:
        tried = [*tried, *matched_interventions(found, differences, count, seed)]
    logps = choice_logps(lm, [q.shown for q in asked], tried)
    kept = ~logps.too_long.any(axis=0)
    if not np.isfinite(logps.logps[:, kept]).all():
        raise CompareError("the model's logits are not finite under a random direction of this norm.")
    choices = item_choices(asked, logps)
    plain = dict(zip(baseline.items, baseline.p_match.tolist(), strict=True))
    shared = [i for i, item in enumerate(choices.items) if item in plain]
    if not shared:
        raise CompareError("no question is left that the baseline could be asked too.")
    before = np.array([plain[choices.items[i]] for i in shared])
    means = (choices.p_match[:, shared] - before).mean(axis=1)
    shifts = tuple(round(float(value), 7) for value in means)
    return RandomShifts(shifts[:count], shifts[count:])
