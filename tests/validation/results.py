"""What was simulated, as tables, and the bounds it should keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.validation.behaviors import Behaviors, behaviors
from tests.validation.costs import Verdicts, costs_of, verdicts
from tests.validation.families import Family, families, tables_of
from tests.validation.seeds import Seeds, seeds
from tests.validation.selections import Selection, selections, selections_of
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
from tests.validation.small import Labels, Small, labels, small, small_of
from tests.validation.tables import (
    behaviors_table,
    coverage_table,
    errors_table,
    families_table,
    labels_table,
    power_table,
    seeds_table,
    selections_table,
    sentences_table,
    small_table,
    verdicts_table,
)

COVERED = 0.93
WRONG = 0.05
NAMED = 0.9
"""The share of runs in which a report says that shifts are skewed, where their intervals hold less than `COVERED`."""
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
    small: tuple[Small, ...]
    labels: tuple[Labels, ...]
    selections: tuple[Selection, ...]

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
            if family.least is not None and family.held < family.least and family.named < NAMED:
                lines.append(f"{where}: all covered in {family.held:.3f} < {family.least:.3f}, and nothing is said")
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
        return [*lines, *self._little()]

    def _little(self) -> list[str]:
        """Likewise of what little stands behind, and of selection."""
        lines = []
        for row in self.small:
            shares = {"claims": (row.untrue, row.most), "verdicts": (row.wrong, row.bound)}
            shares["p"] = (row.either, row.bound)
            lines += [
                f"little, {row.data}, {row.items} items: {name} wrong in {share:.3f} > {most:.3f}"
                for name, (share, most) in shares.items()
                if share > most
            ]
        for label in self.labels:
            if label.shown and min(label.own, label.difference) < label.least:
                found = f"{label.own:.3f} and {label.difference:.3f} < {label.least:.3f}"
                lines.append(f"labels, {label.data}, {label.items} items each: covered {found}")
        for each in self.selections:
            for name, share in (("limit", each.within), ("shift", each.moved), ("contrast", each.apart)):
                if share > each.bound:
                    where = f"selection, {each.data}, {each.dev} questions on dev"
                    lines.append(f"{where}: {name} wrong in {share:.3f} > {each.bound:.3f}")
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
            "little": small_table(self.small),
            "labels": labels_table(self.labels),
            "selections": selections_table(self.selections),
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
        small=tuple(small(sizes, _largest(small_of(sizes)), _least(sizes), turn)),
        labels=tuple(labels(sizes, _least(sizes), turn)),
        selections=tuple(selections(sizes, _largest(selections_of(sizes)), turn)),
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
