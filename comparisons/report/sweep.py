"""A sweep's rows as grids of layers and multipliers, and the settings that did best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from comparisons.results.findings import intended, is_broken, moved
from comparisons.results.summary import Summary, SummaryRow

Measure = Literal["shift", "cost"]


@dataclass(frozen=True)
class Grid:
    """One stack of one behavior at every layer and multiplier of a sweep.

    Attributes:
        behavior: its name.
        series: the stack, and in brackets the other settings that tell it from another.
        layers: in order.
        multipliers: signed strengths in order, 0 among them: below 0 is less of the behavior, 0 the baseline.
        rows: by layer and multiplier; none at 0.
    """

    behavior: str
    series: str
    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    rows: Mapping[tuple[int, float], SummaryRow]

    def values(self, measure: Measure) -> list[list[float | None]]:
        """[layers][multipliers]: a number each, None where the cell failed or has none; 0 at multiplier 0."""
        return [[self.value(layer, multiplier, measure) for multiplier in self.multipliers] for layer in self.layers]

    def value(self, layer: int, multiplier: float, measure: Measure) -> float | None:
        """One cell's number."""
        if multiplier == 0:
            return 0.0
        row = self.rows.get((layer, multiplier))
        return None if row is None else getattr(row, measure)

    def best(self, direction: str) -> SummaryRow | None:
        """The cell that did best in a direction; None where none is usable."""
        return next(iter(best_rows(list(self.rows.values()), direction)), None)


@dataclass(frozen=True)
class TwoSided:
    """A setting in both directions.

    Attributes:
        pos, neg: its cells.
    """

    pos: SummaryRow
    neg: SummaryRow

    @property
    def shift(self) -> float:
        """The mean of the shifts in the directions wanted."""
        return (intended(self.pos) + intended(self.neg)) / 2


def grids(summary: Summary) -> list[Grid]:
    """A grid for each behavior and stack that the sweep moves through the layers."""
    grids = []
    for behavior in summary.subjects:
        swept = [row for row in summary.of(behavior) if row.swept_layer is not None]
        grids += [_grid(behavior, name, [r for r in swept if r.series == name]) for name in series(swept)]
    return grids


def series(rows: Sequence[SummaryRow]) -> list[str]:
    """The stacks of some rows, the baseline aside, in order of appearance."""
    return list(dict.fromkeys(row.series for row in rows if not row.is_baseline))


def _grid(behavior: str, name: str, rows: Sequence[SummaryRow]) -> Grid:
    cells = {(row.swept_layer or 0, multiplier(row)): row for row in rows if row.strength}
    layers = sorted({row.swept_layer or 0 for row in rows})
    multipliers = sorted({0.0, *(times for _, times in cells)})
    return Grid(behavior, name, tuple(layers), tuple(multipliers), cells)


def multiplier(row: SummaryRow) -> float:
    """The strength, signed by the direction."""
    return row.strength if row.direction == "pos" else -row.strength


def best_rows(rows: Sequence[SummaryRow], direction: str, broken: bool = False) -> list[SummaryRow]:
    """The usable cells of one direction, those that moved measurably first, furthest first.

    A cell without a dose or a number is no setting to use, nor is one that no longer answers with a letter.

    Args:
        rows: of one behavior.
        direction: "pos" or "neg".
        broken: take those that no longer answer with a letter instead.
    """
    measured = [row for row in rows if row.direction == direction and row.strength and row.shift is not None]
    usable = [row for row in measured if is_broken(row) == broken]
    return sorted(usable, key=lambda row: (not moved(row), -intended(row)))


def best_two_sided(rows: Sequence[SummaryRow]) -> TwoSided | None:
    """The setting whose mean shift over both directions is largest; None where no setting has both."""
    by_setting: dict[tuple[int | None, float], dict[str, SummaryRow]] = {}
    for row in (*best_rows(rows, "pos"), *best_rows(rows, "neg")):
        by_setting.setdefault((row.swept_layer, row.strength), {})[row.direction or ""] = row
    pairs = [TwoSided(both["pos"], both["neg"]) for both in by_setting.values() if len(both) == 2]
    return max(pairs, key=lambda pair: pair.shift, default=None)
