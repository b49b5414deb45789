"""Vectors from shuffled labels, ranked among random ones: whether meaningless vectors look like nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from checkpoints.pocket.recipe.card import score
from comparisons.evaluations.random_ranks import RandomShifts, matched_vectors, random_interventions
from comparisons.intervention import Intervention
from tests.validation.subjects import ModelSizes, Subject

ISOTROPIC, MATCHED = "uniform on the sphere", "of the differences' spread"
NORMS = ("the vector's", "their own")
LEVEL = 0.05


@dataclass(frozen=True)
class Ranked:
    """One behavior's shuffled-label vectors among random ones of one kind and norm.

    Attributes:
        behavior: its name.
        layer: where vectors are added.
        norm: whose norm all vectors have, one of `NORMS`.
        among: the kind of random vectors, `ISOTROPIC` or `MATCHED`.
        length: the norm.
        spread: standard deviation of the shuffled ones' shifts.
        random_spread: of the random ones' shifts.
        randoms: how many random ones there are.
        p_values: two-sided rank of each shuffled vector's shift.
        true_p: two-sided rank of the true vector's shift, at this norm.
        shuffled_p: its two-sided rank among the shuffled ones.
    """

    behavior: str
    layer: int
    norm: str
    among: str
    length: float
    spread: float
    random_spread: float
    randoms: int
    p_values: tuple[float, ...]
    true_p: float
    shuffled_p: float


@dataclass(frozen=True)
class Uniformity:
    """All behaviors' ranks against the uniform distribution.

    Attributes:
        norm: see `Ranked`.
        among: see `Ranked`.
        vectors: how many were ranked.
        wrong: share of them with a rank of at most .05.
        distance: Kolmogorov–Smirnov distance of their ranks from the uniform distribution.
        band: the distance that 95% of exchangeable sets stay within.
        p_value: the share of exchangeable sets that are at least as far.
    """

    norm: str
    among: str
    vectors: int
    wrong: float
    distance: float
    band: float
    p_value: float


def shuffled_vectors(differences: torch.Tensor, count: int) -> torch.Tensor:
    """Mean differences with matching and contrast exchanged in half of the pairs, [count, width].

    Row s exchanges the pairs that the control made of shuffled labels exchanges with seed s.
    """
    pairs = len(differences)
    signs = torch.ones((count, pairs), dtype=differences.dtype)
    for seed in range(count):
        signs[seed, random.Random(seed).sample(range(pairs), pairs // 2)] = -1.0
    return signs @ differences / pairs


def scaled(vectors: torch.Tensor, norm: float) -> torch.Tensor:
    """The vectors at one norm."""
    found: torch.Tensor = vectors * (norm / vectors.norm(dim=-1, keepdim=True))
    return found


def ranked(subject: Subject, sizes: ModelSizes) -> list[Ranked]:
    """Ranks one behavior's shuffled-label vectors at both norms, all of them behind one prefill a question."""
    shuffled = shuffled_vectors(subject.differences, sizes.shuffles)
    lengths = (float(subject.vector.norm()), float(shuffled.norm(dim=-1).median()))
    sets = [_sets(subject, shuffled, length, sizes) for length in lengths]
    items = subject.behavior.limited(None, sizes.rank_items, sizes.seed).test
    flat = [Intervention(), *(one for kinds in sets for kind in kinds for one in kind)]
    shifts = score(subject.lm, items, flat).p.mean(axis=1)
    place = iter(shifts[1:] - shifts[0])
    rows = []
    for norm, length, kinds in zip(NORMS, lengths, sets, strict=True):
        found = [np.array([next(place) for _ in kind]) for kind in kinds]
        rows += [_row(subject, norm, length, found, among) for among in (ISOTROPIC, MATCHED)]
    return rows


def _sets(subject: Subject, shuffled: torch.Tensor, length: float, sizes: ModelSizes) -> list[list[Intervention]]:
    """The true vector, the shuffled ones, the isotropic and the matched ones, all at one norm."""
    true = subject.steered(scaled(subject.vector, length))
    matched = matched_vectors(subject.differences, sizes.randoms, torch.Generator().manual_seed(sizes.seed))
    return [
        [true],
        [subject.steered(vector) for vector in scaled(shuffled, length)],
        random_interventions(true, sizes.randoms, sizes.seed),
        [subject.steered(vector) for vector in scaled(matched, length)],
    ]


def _row(subject: Subject, norm: str, length: float, found: Sequence[np.ndarray], among: str) -> Ranked:
    (true,), shuffled = found[0].tolist(), found[1]
    others = found[2 if among == ISOTROPIC else 3]
    randoms = RandomShifts(tuple(others.tolist()))
    return Ranked(
        behavior=subject.behavior.name,
        layer=subject.layer,
        norm=norm,
        among=among,
        length=length,
        spread=float(shuffled.std()),
        random_spread=float(others.std()),
        randoms=len(others),
        p_values=tuple(round(randoms.rank_p(shift), 6) for shift in shuffled.tolist()),
        true_p=randoms.rank_p(true),
        shuffled_p=RandomShifts(tuple(shuffled.tolist())).rank_p(true),
    )


def uniformity(rows: Sequence[Ranked], sizes: ModelSizes) -> list[Uniformity]:
    """The ranks of all behaviors together, for each norm and kind of random vectors."""
    found = []
    for norm, among in dict.fromkeys((row.norm, row.among) for row in rows):
        mine = [row for row in rows if (row.norm, row.among) == (norm, among)]
        p_values = np.array([p for row in mine for p in row.p_values])
        null = null_distances([(len(row.p_values), row.randoms) for row in mine], sizes.draws, sizes.seed)
        distance = uniform_distance(p_values, mine[0].randoms)
        found.append(
            Uniformity(
                norm=norm,
                among=among,
                vectors=len(p_values),
                wrong=float((p_values <= LEVEL).mean()),
                distance=distance,
                band=float(np.quantile(null, 0.95)),
                p_value=float((1 + (null >= distance - 1e-9).sum()) / (1 + len(null))),
            )
        )
    return found


def uniform_distance(p_values: np.ndarray, randoms: int) -> float:
    """Largest distance between the distribution of two-sided ranks and the uniform one, at the ranks there are."""
    steps = np.minimum(1.0, 2 * np.arange(1, randoms // 2 + 2) / (1 + randoms))
    reached = np.searchsorted(np.sort(p_values), steps + 1e-6, side="right") / len(p_values)
    return float(np.abs(reached - steps).max())


def null_distances(groups: Sequence[tuple[int, int]], draws: int, seed: int) -> np.ndarray:
    """What `uniform_distance` is where ranked and random vectors are exchangeable.

    All vectors of a group are ranked among the same random ones, so their ranks are not independent, as the
    Kolmogorov–Smirnov test of one sample takes them to be; the order of ranked and random ones is what is
    exchangeable, and is drawn here.

    Args:
        groups: for each the number of ranked and of random vectors; the latter are equally many in all.
        draws: how many.
        seed: of the draws.

    Returns:
        [draws]
    """
    generator = np.random.default_rng(seed)
    randoms = groups[0][1]
    counts = np.zeros((draws, randoms // 2 + 1))
    rows = np.arange(draws)
    for ranks, others in groups:
        assert others == randoms, "groups are ranked among equally many"
        is_random = generator.permuted(np.tile(np.arange(ranks + others) < others, (draws, 1)), axis=1)
        below = np.cumsum(is_random, axis=1)[~is_random].reshape(draws, ranks)
        tail = np.minimum(below, others - below)
        for column in tail.T:
            counts[rows, column] += 1
    steps = np.minimum(1.0, 2 * np.arange(1, randoms // 2 + 2) / (1 + randoms))
    reached = np.cumsum(counts, axis=1) / sum(ranks for ranks, _ in groups)
    found: np.ndarray = np.abs(reached - steps).max(axis=1)
    return found
