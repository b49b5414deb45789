"""What free answers show against how coherent they are: a chart for each behavior and judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from comparisons.report.shift import CostPanel, Place
from comparisons.report.table import describe
from comparisons.results.answers import Judged
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDS = -0.3, 10.3
"""Of both axes: scores go from 0 to 10, and a mark at an end is seen whole."""


@dataclass(frozen=True)
class CoherencePanel(CostPanel):
    """A judge's score of the behavior against its score of coherence; grey lines cross at the unchanged model."""

    judge: str

    shared_x: ClassVar[bool] = True
    x_label: ClassVar[str] = "coherence, 95% interval"
    y_label: ClassVar[str] = "score of the behavior"

    @property
    def origin(self) -> tuple[float, float] | None:
        plain = next((place for row in self.rows if row.is_baseline and (place := self.place(row))), None)
        return None if plain is None else (plain.x, plain.y)

    def place(self, row: SummaryRow) -> Place | None:
        one = _rated(row).get(self.judge)
        if one is None or (x := one.get("coherence")) is None or (y := one.get("score")) is None:
            return None
        score, coherence = number(y, places=2), number(x, places=2)
        bounds = one.get("score_ci"), one.get("coherence_ci")
        text = f"score {score} {interval(bounds[0], places=2)}, coherence {coherence} {interval(bounds[1], places=2)}"
        return Place(row, x, bounds[1], y, bounds[0], f"{describe(row)}: {text}")

    def draw(self, axes: Axes) -> None:
        super().draw(axes)
        axes.set(xlim=ENDS, ylim=ENDS)


def coherence_panels(summary: Summary) -> list[CoherencePanel]:
    """A panel for each behavior and judge that rated its answers' coherence."""
    names = tuple(dict.fromkeys(row.name for row in summary.rows if not row.is_baseline and _rated(row)))
    judges = dict.fromkeys(judge for row in summary.rows for judge in _rated(row))
    panels = []
    for subject in summary.subjects:
        rows = summary.of(subject)
        for judge in judges:
            title = f"{subject}, by {judge}" if len(judges) > 1 else subject
            panel = CoherencePanel(f"{title}\n{_least(rows, judge)}", rows, names, judge)
            panels += [panel] if any(panel.place(row) for row in rows if not row.is_baseline) else []
    return panels


def _rated(row: SummaryRow) -> dict[str, Judged]:
    """What judges that rated the coherence of a cell's answers gave it."""
    judges = row.open_ended["judges"] if row.open_ended else {}
    return {judge: one for judge, one in judges.items() if one.get("coherence") is not None}


def _least(rows: Sequence[SummaryRow], judge: str) -> str:
    """The least coherent cell, which is what the eye looks for."""
    found = [(one["coherence"], row) for row in rows if not row.is_baseline and (one := _rated(row).get(judge))]
    if not found:
        return ""
    least, row = min(found, key=lambda pair: pair[0] or 0.0)
    return f"least coherent: {describe(row)}, {number(least, places=1)}"
