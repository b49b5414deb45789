"""Cells against each other: the contrasts of a run, and the band of all shifts of a behavior, from the result rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from comparisons import stats
from comparisons.evaluation.across import bounds
from comparisons.evaluation.free_answers import OPEN_ENDED, first_rating
from comparisons.evaluation.measures import ItemMeasures, Row, clusters, item_measures, seed_of, shared, spread
from comparisons.evaluation.questions import CHOICES, KNOWLEDGE
from comparisons.judges.judge_set import COHERENCE
from comparisons.results.contrasts import OPPOSITE
from comparisons.results.costs import Frontier
from comparisons.results.findings import MOST_COMPARED, is_broken
from comparisons.results.schema import Contrast, CostContrast, Difference, Verdict
from comparisons.results.summary import SummaryRow
from comparisons.util.directions import DIRECTIONS, Direction

Read = Callable[[str], Sequence[Row]]
Measured = Literal["p_match", "content"]
MEASURES: tuple[Measured, ...] = ("p_match", "content")

SMALL, MOST_STILL = 30, 0.8
"""Under so many questions, of which at least this share hardly differs, there is no verdict."""


def compared(
    rows: Sequence[SummaryRow], read: Read, margin: float, seed: int, sweep: bool = False, draws: int = 10_000
) -> tuple[list[SummaryRow], list[Contrast]]:
    """The rows with the band of their shifts, and the contrasts of every behavior and direction.

    Args:
        rows: of a summary.
        read: the result rows of a done cell, by its key.
        margin: a difference below it makes no difference.
        seed: the run's.
        sweep: whether the run is one, whose many cells are ranked on dev and confirmed by a run: it has no contrasts.
        draws: of the bootstrap.
    """
    if sweep:
        return list(rows), []
    bands, found = dict[str, dict[str, Any]](), list[Contrast]()
    for subject in dict.fromkeys(row.subject for row in rows):
        group = [row for row in rows if row.subject == subject]
        usable = [r for r in group if not (r.is_baseline or r.failed or r.shift is None or is_broken(r))]
        plain = next((row for row in group if row.is_baseline and not row.failed), None)
        if plain is None or not usable:
            continue
        asked = _Asked([*usable, plain], read, seed_of(seed, plain.behavior), draws)
        bands |= _bands(asked)
        for direction in DIRECTIONS:
            cells = [row for row in usable if row.direction == direction]
            found += _contrasts(asked, cells, direction, margin)
            sides = {"frontier": asked.costs, "kl_frontier": asked.kl, "coherence_frontier": asked.incoherence}
            for name, costs in sides.items():
                for key, place in _frontier(asked, [*cells, plain], direction, costs).items():
                    bands.setdefault(key, {})[name] = place
    return [replace(row, **bands.get(row.cell, {})) for row in rows], found


def compared_two(a: SummaryRow, b: SummaryRow, read: Read, margin: float, seed: int) -> Contrast | None:
    """Two cells, which may be a baseline or of two directions, as a family of one pair; None without common questions.

    Towards the direction that was asked for; the difference of p_match itself where that is not one.
    """
    asked = _Asked([a, b], read, seed_of(seed, a.behavior))
    direction: Direction = "neg" if {a.direction, b.direction} - {None} == {"neg"} else "pos"
    found = _contrasts(asked, [a, b], direction, margin)
    return found[0] if found and found[0]["n_items"] else None


class _Asked:
    """What cells of a behavior have answered to the same questions."""

    def __init__(self, cells: Sequence[SummaryRow], read: Read, seed: int, draws: int = 10_000) -> None:
        self.keys, self.seed, self.draws = [row.cell for row in cells], seed, draws
        self.noise = cells[0].numerical_noise
        rows = [read(key) for key in self.keys]
        self.choices, self.knowledge = _Answers.of(rows, CHOICES), _Answers.of(rows, KNOWLEDGE)
        self.kl, self.incoherence = _kl(rows), _incoherence(rows)

    @property
    def costs(self) -> tuple[np.ndarray, list[Hashable] | None] | None:
        """[cells, questions] of what is lost in knowledge, up to a constant of each question; its clusters."""
        return None if self.knowledge is None else (-self.knowledge.tables["p_match"], self.knowledge.groups)

    def contrasts(
        self,
        answers: _Answers,
        places: Sequence[int],
        sign: float = 1.0,
        pairs: Sequence[tuple[int, int]] | None = None,
        what: Measured = "p_match",
    ) -> list[stats.Contrast]:
        """Of a measure of some cells' answers, whose items share some of the model's rounding noise."""
        table, spreads = answers.tables[what], answers.seeds[what]
        return stats.contrasts(
            sign * table[places],
            pairs,
            clusters=answers.groups,
            shared=shared("shift" if what == "p_match" else "content_shift", self.noise).deviation,
            seeds=[spreads[place] for place in places],
            draws=self.draws,
            seed=self.seed,
        )

    def places(self, cells: Sequence[SummaryRow]) -> list[int]:
        """Where cells stand among the answers."""
        return [self.keys.index(row.cell) for row in cells]


@dataclass(frozen=True)
class _Answers:
    """What cells answered to the same questions.

    Attributes:
        tables: [cells, items] of "p_match" and "content", NaN where a cell lacks an item.
        seeds: of each cell, what the seeds of its fits add to the variance of the mean of these.
        groups: the items' clusters.
    """

    tables: Mapping[Measured, np.ndarray]
    seeds: Mapping[Measured, Sequence[stats.SeedSpread | None]]
    groups: list[Hashable] | None

    @classmethod
    def of(cls, cells: Sequence[Sequence[Row]], evaluation: str) -> _Answers | None:
        """None where a cell has no such answers."""
        measures = [item_measures(rows, evaluation) for rows in cells]
        if not all(each.items for each in measures):
            return None
        items = list(dict.fromkeys(item for each in measures for item in each.items))
        templates = {r["item"]: r.get("template") for rows in cells for r in rows if r["evaluation"] == evaluation}
        groups, names = clusters(items, templates), MEASURES
        tables = {name: _table(measures, name, items) for name in names}
        seeds = {name: [spread(rows, evaluation, name, items, groups) for rows in cells] for name in names}
        return cls(tables, seeds, groups)


def _table(cells: Sequence[ItemMeasures], name: str, items: Sequence[str]) -> np.ndarray:
    place = {item: i for i, item in enumerate(items)}
    table = np.full((len(cells), len(items)), np.nan)
    for row, cell in zip(table, cells, strict=True):
        row[[place[item] for item in cell.items]] = getattr(cell, name)
    return table


def _bands(asked: _Asked) -> dict[str, dict[str, Any]]:
    """Of each cell the simultaneous interval of its shift from the baseline, which is the last of them."""
    if asked.choices is None:
        return {}
    last = len(asked.keys) - 1
    pairs = [(place, last) for place in range(last)]
    found = asked.contrasts(asked.choices, range(len(asked.keys)), pairs=pairs)
    bands = dict[str, dict[str, Any]]()
    for each in found:
        few = too_little(each)
        own: dict[str, Any] = {"shift_band": None if few else bounds(each.simultaneous, 1.0)}
        own |= {"n_clusters": each.units, "skewness": each.skewness, "too_few": few}
        bands[asked.keys[each.first]] = own
    return bands


def _kl(cells: Sequence[Sequence[Row]]) -> tuple[np.ndarray, list[Hashable] | None] | None:
    """[cells, prompts] of each cell's KL, by the prompts' tokens, so that a mean over prompts is one over tokens; their
    clusters. None where a cell has none."""
    rows = [{row["item"]: row for row in each if row["evaluation"] == "kl"} for each in cells]
    items = list(rows[0])
    if not items or any(list(each) != items for each in rows):
        return None
    tokens = np.array([rows[0][item]["tokens"] for item in items], dtype=float)
    table = np.array([[each[item]["kl"] for item in items] for each in rows]) * tokens / tokens.mean()
    return table, clusters(items, {item: rows[0][item].get("template") for item in items})


def _incoherence(cells: Sequence[Sequence[Row]]) -> tuple[np.ndarray, list[Hashable] | None] | None:
    """[cells, prompts] minus the coherence of each answer by the first judge that rated it, NaN where it didn't; their
    clusters. None where no prompt has one in every cell."""
    rows = [{row["item"]: row for row in each if row["evaluation"] == OPEN_ENDED} for each in cells]
    judge = first_rating(row for each in rows for row in each.values())
    items = list(dict.fromkeys(item for each in rows for item in each))
    scores = [[each[item].get(COHERENCE, {}).get(judge) if item in each else None for item in items] for each in rows]
    table = -np.array(scores, dtype=float)
    if judge is None or not (~np.isnan(table).any(axis=0)).any():
        return None
    templates = {item: row.get("template") for each in rows for item, row in each.items()}
    return table, clusters(items, templates)


def _frontier(
    asked: _Asked,
    cells: Sequence[SummaryRow],
    direction: Direction,
    costs: tuple[np.ndarray, list[Hashable] | None] | None,
) -> dict[str, Frontier]:
    """Of each cell of one direction, its place among them and the baseline, which is the last."""
    answers, places = asked.choices, asked.places(cells)
    if answers is None or costs is None or not 2 < len(cells) <= MOST_COMPARED + 1:
        return {}
    sign = 1.0 if direction == "pos" else -1.0
    far, dear, groups = sign * answers.tables["p_match"][places], costs[0][places], answers.groups
    on, by = stats.dominance(far, dear, shift_clusters=groups, cost_clusters=costs[1], seed=asked.seed)
    names, ends = [row.name for row in cells[:-1]], [not row.control for row in cells[:-1]]
    areas = stats.areas(far, dear, names, ends, shift_clusters=groups, cost_clusters=costs[1], seed=asked.seed)
    most = by.argmax(axis=1)
    found: dict[str, Frontier] = {}
    for place, row in enumerate(cells[:-1]):
        area = areas.get(row.name)
        found[row.cell] = {
            "probability": float(on[place]),
            "dominated": float(1 - on[place]),
            "by": cells[most[place]].cell if by[place].any() else None,
            "area": None if area is None else area.value,
            "area_ci": None if area is None else area.interval,
            "area_to": None if area is None else area.reach,
        }
    return found


def _contrasts(asked: _Asked, cells: Sequence[SummaryRow], direction: Direction, margin: float) -> list[Contrast]:
    """Of all pairs of cells of one direction."""
    answers, known, places = asked.choices, asked.knowledge, asked.places(cells)
    if answers is None or not 2 <= len(cells) <= MOST_COMPARED:
        return []
    sign = 1.0 if direction == "pos" else -1.0
    shifts = asked.contrasts(answers, places, sign)
    contents = asked.contrasts(answers, places, sign, what="content")
    costs = [None] * len(shifts) if known is None else asked.contrasts(known, places, -1.0)
    found: list[Contrast] = []
    for shift, content, cost in zip(shifts, contents, costs, strict=True):
        a, b = cells[shift.first], cells[shift.second]
        verdict, reason = judged(shift, margin)
        needed = shift.items_needed(margin, len(shifts)) if verdict == "undecided" and reason is None else None
        found.append(
            {
                "behavior": a.behavior,
                "direction": direction,
                "a": a.cell,
                "b": b.cell,
                "name_a": a.method,
                "name_b": b.method,
                **numbers(shift, 1.0),
                "verdict": verdict,
                "margin": margin,
                "n_items": shift.count,
                "n_clusters": shift.units,
                "n_seeds": min((len(each.fits["seeds"]) for each in (a, b) if each.fits), default=1),
                "reason": reason,
                # A number that is there already was no answer.
                "items_needed": needed if needed and needed > shift.count else None,
                "content": numbers(content) if content.count else None,
                "cost": None if cost is None or not cost.count else cost_numbers(cost, margin),
            }
        )
    return found


def judged(contrast: stats.Contrast, margin: float) -> tuple[Verdict, str | None]:
    """The verdict on a difference of p_match, and why there can be none."""
    reason, verdict = too_little(contrast), contrast.verdict(margin)
    if reason is None and verdict == "undecided" and contrast.sparse:
        reason = _carried(contrast)
    return ("undecided", reason) if reason else (verdict, None)


def too_little(contrast: stats.Contrast) -> str | None:
    """Why the questions can't tell two cells apart, whatever they answered; None where they can."""
    if contrast.units < stats.FEWEST:
        return f"only {contrast.units} {_kind(contrast)}: under {stats.FEWEST} there is no interval"
    if contrast.count < SMALL and contrast.still >= MOST_STILL:
        return f"{contrast.count} questions, of which {contrast.still:.0%} hardly differ, are too few"
    if contrast.simultaneous is None:
        return _carried(contrast)
    return None


def _carried(contrast: stats.Contrast) -> str:
    return f"the difference lies in about {contrast.carried:.0f} of {contrast.units} {_kind(contrast)}: too few"


def _kind(contrast: stats.Contrast) -> str:
    return "questions" if contrast.units == contrast.count else "clusters of questions"


def numbers(contrast: stats.Contrast, most: float = math.inf) -> Difference:
    """A contrast as the summary has it.

    Args:
        most: the largest difference that there can be.
    """
    return {
        "difference": contrast.difference,
        "error": contrast.full_error,
        "ci": bounds(contrast.interval, most),
        "simultaneous_ci": bounds(contrast.simultaneous, most),
        "p_adjusted": contrast.p_adjusted,
    }


def cost_numbers(contrast: stats.Contrast, margin: float) -> CostContrast:
    """A contrast of knowledge costs; to cost less is better."""
    return {
        **numbers(contrast, 1.0),
        "verdict": OPPOSITE[judged(contrast, margin)[0]],
        "n_items": contrast.count,
        "n_clusters": contrast.units,
    }
