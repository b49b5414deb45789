"""What was simulated, as tables, and the bounds it should keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.validation.behaviors import Behaviors, behaviors
from tests.validation.costs import Verdicts, costs_of, verdicts
from tests.validation.families import Family, families, tables_of
from tests.validation.seeds import Seeds, seeds
from tests.validation.sentences import Sentences, grids_of, sentences
from tests.validation.simulations import (
    CORRECTED,
    Coverage,
    FalsePositives,
    Power,
    Sizes,
    Turn,
    coverage,
    false_positives,
    power,
)

COVERED = 0.93
WRONG = 0.05
ENOUGH = 5000
"""Runs from which on coverage is held to the bound itself; with fewer, Monte Carlo error is allowed for."""


@dataclass(frozen=True)
class Results:
    """All simulations of one go."""

    sizes: Sizes
    coverage: tuple[Coverage, ...]
    false_positives: tuple[FalsePositives, ...]
    verdicts: tuple[Verdicts, ...]
    power: tuple[Power, ...]
    families: tuple[Family, ...]
    sentences: tuple[Sentences, ...]
    seeds: tuple[Seeds, ...]
    behaviors: tuple[Behaviors, ...]

    def missed(self) -> list[str]:
        """A line for each bound that isn't kept."""
        lines = [
            f"coverage of {row.shape}, {row.items} items: {row.covered:.3f}, asked for at least {row.bound:.3f}"
            for row in self.coverage
            if row.bound is not None and row.covered < row.bound
        ]
        for row in self.false_positives:
            for name in CORRECTED:
                rate = getattr(row, name)
                if row.bound is not None and rate > row.bound:
                    lines.append(
                        f"false positives of {name}, {row.null}, {row.cells} cells: {rate:.3f} > {row.bound:.3f}"
                    )
        for cost in self.verdicts:
            if cost.said > cost.bound:
                lines.append(
                    f"no measurable cost, {cost.shape}, {cost.items} items: {cost.said:.3f} > {cost.bound:.3f}"
                )
        for family in self.families:
            where = f"contrasts of {family.data}, {family.items} items"
            if family.bound is not None and family.wrong > family.bound:
                lines.append(f"{where}: a difference in {family.wrong:.3f} > {family.bound:.3f}")
            if family.least is not None and family.covered < family.least:
                lines.append(f"{where}: covered {family.covered:.3f} < {family.least:.3f}")
        for said in self.sentences:
            if said.any > said.bound:
                lines.append(f"sentences, {said.data}, {said.items} items: {said.any:.3f} > {said.bound:.3f}")
        for fit in self.seeds:
            where = f"{fit.seeds} seeds, deviation {fit.deviation:g}, {fit.data}"
            if fit.covered < fit.least:
                lines.append(f"{where}: covered {fit.covered:.3f} < {fit.least:.3f}")
            if fit.different > fit.bound:
                lines.append(f"{where}: told from itself in {fit.different:.3f} > {fit.bound:.3f}")
        for pooled in self.behaviors:
            if pooled.covered < pooled.least:
                where = f"{pooled.behaviors} behaviors, tau {pooled.tau:g}"
                lines.append(f"{where}: covered {pooled.covered:.3f} < {pooled.least:.3f}")
        return lines

    def tables(self) -> dict[str, str]:
        """The tables in Markdown, by what they show."""
        return {
            "coverage": coverage_table(self.coverage),
            "false positives": errors_table(self.false_positives),
            "no measurable cost": verdicts_table(self.verdicts),
            "power": power_table(self.power, self.sizes.multiples),
            "contrasts": families_table(self.families),
            "sentences": sentences_table(self.sentences),
            "seeds": seeds_table(self.seeds),
            "behaviors": behaviors_table(self.behaviors),
        }


def simulate(sizes: Sizes, turn: Turn) -> Results:
    """Runs everything; `turn` is told what is being simulated."""
    few = 3 * monte_carlo(COVERED, sizes.runs) if sizes.runs < ENOUGH else 0.0
    return Results(
        sizes=sizes,
        coverage=tuple(coverage(sizes, COVERED - few, turn)),
        false_positives=tuple(false_positives(sizes, _largest(sizes), turn)),
        verdicts=tuple(verdicts(sizes, _largest(costs_of(sizes)), turn)),
        power=tuple(power(sizes, turn)),
        families=tuple(families(sizes, _largest(tables_of(sizes)), _least(sizes), turn)),
        sentences=tuple(sentences(sizes, _largest(grids_of(sizes)), turn)),
        seeds=tuple(seeds(sizes, few and COVERED - _least(sizes), _largest(tables_of(sizes)), turn)),
        behaviors=tuple(behaviors(sizes, COVERED - few, turn)),
    )


def _largest(sizes: Sizes) -> float:
    """The level, with Monte Carlo error."""
    return WRONG + 3 * monte_carlo(WRONG, sizes.runs)


def _least(sizes: Sizes) -> float:
    """The coverage of contrasts that is asked for; with few runs Monte Carlo error is allowed for."""
    return COVERED - 3 * monte_carlo(COVERED, tables_of(sizes).runs) if sizes.runs < ENOUGH else COVERED


def monte_carlo(share: float, runs: int) -> float:
    """The standard error of a share of runs."""
    return math.sqrt(share * (1 - share) / runs)


def coverage_table(rows: Sequence[Coverage]) -> str:
    """A row for each shape and number of items."""
    head = ("data", "items", "independent units", "covered", "asked for", "interval too low", "too high", "plain BCa")
    lines = [
        (*_names(row), _share(row.covered), _bound(row.bound, "≥"), *map(_share, (row.low, row.high, row.plain)))
        for row in rows
    ]
    return markdown(head, lines)


def errors_table(rows: Sequence[FalsePositives]) -> str:
    """A row for each null and size of table."""
    head = ("differences", "cells", "items", "uncorrected", "Holm", "max-T", "asked for")
    lines = [
        (row.null, f"{row.cells}", f"{row.items}", *map(_share, (row.raw, row.holm, row.max_t)), _bound(row.bound, "≤"))
        for row in rows
    ]
    return markdown(head, lines)


def verdicts_table(rows: Sequence[Verdicts]) -> str:
    """A row for each shape and number of items."""
    head = ("costs", "items", "bootstrap alone", "two bounds", "three bounds: said", "asked for")
    lines = [
        (row.shape, f"{row.items}", *map(_share, (row.bootstrap, row.two, row.said)), _bound(row.bound, "≤"))
        for row in rows
    ]
    return markdown(head, lines)


def power_table(rows: Sequence[Power], multiples: Sequence[float]) -> str:
    """A row for each curve; columns are true shifts in minimum detectable shifts."""
    head = ("data", "items", "independent units", "minimum detectable shift", *(f"power at {m:g} ×" for m in multiples))
    lines = [(*_names(row), f"{row.detectable:.3f}", *map(_share, row.found)) for row in rows]
    return markdown(head, lines)


def families_table(rows: Sequence[Family]) -> str:
    """A row for each shape and number of items."""
    head = ("cells", "items", "independent units", "a difference said", "asked for", "own interval covers", "asked for")
    lines = [
        (
            *(row.data, f"{row.items}", f"{row.units}", _share(row.wrong), _bound(row.bound, "≤")),
            *(_share(row.covered), _bound(row.least, "≥"), _share(row.held)),
        )
        for row in rows
    ]
    return markdown((*head, "all shifts covered at once"), lines)


def sentences_table(rows: Sequence[Sentences]) -> str:
    """A row for each kind of questions."""
    head = ("questions", "items", "independent units", '"moved"', '"the wrong way"', "told apart", "any", "asked for")
    lines = [
        (
            *(row.data, f"{row.items}", f"{row.units}"),
            *map(_share, (row.moves, row.wrongly, row.told_apart, row.any)),
            _bound(row.bound, "≤"),
        )
        for row in rows
    ]
    return markdown(head, lines)


def seeds_table(rows: Sequence[Seeds]) -> str:
    """A row for each number of fits and spread of them."""
    head = ("questions", "fits", "their deviation", "covered", "asked for", "by questions alone", "told from itself")
    lines = [
        (
            *(row.data, f"{row.seeds}", f"{row.deviation:g}", _share(row.covered), _bound(row.least, "≥")),
            *(_share(row.unaware), _share(row.different), _bound(row.bound, "≤")),
        )
        for row in rows
    ]
    return markdown((*head, "asked for"), lines)


def behaviors_table(rows: Sequence[Behaviors]) -> str:
    """A row for each number of behaviors and spread of them."""
    head = ("behaviors", "tau", "mean covered", "asked for", "mean, as if tau were 0", "another behavior covered")
    lines = [
        (
            *(f"{row.behaviors}", f"{row.tau:g}", _share(row.covered), _bound(row.least, "≥")),
            *(_share(row.fixed), _share(row.predicted)),
        )
        for row in rows
    ]
    return markdown(head, lines)


def _names(row: Coverage | Power) -> tuple[str, str, str]:
    return row.shape, f"{row.items}", f"{row.units}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _bound(value: float | None, sign: str) -> str:
    return "–" if value is None else f"{sign} {value:.3f}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table, its first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
