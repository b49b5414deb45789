"""Side effects: every cell on the questions of all other behaviors of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from comparisons.evaluation.cells import choice_results
from comparisons.evaluation.interface import Asking, CellResult, CellToAsk, Evaluation, MeasuredCell
from comparisons.evaluation.tally import Tally
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Specification
from comparisons.results.schema import SIDE
from comparisons.util.files import json_digest


@dataclass(frozen=True)
class SideEffects(Evaluation):
    """The shift on the questions of other behaviors."""

    across = True
    every_fit = True
    place = 3

    @classmethod
    def of(cls, spec: Specification) -> SideEffects | None:
        return cls() if spec.side_effects else None

    def identity(self, plan: Plan) -> object:
        return json_digest({name: [asdict(item) for item in items] for name, items in plan.side.items()})

    def ask(self, asking: Asking, cells: Sequence[CellToAsk]) -> list[CellResult]:
        results = [CellResult() for _ in cells]
        for name, items in asking.plan.side.items():
            others = [i for i, cell in enumerate(cells) if cell.fields["behavior"] != name]
            asked = choice_results(asking, items, f"{SIDE}{name}", [cells[i] for i in others])
            for i, result in zip(others, asked, strict=True):
                results[i].add(result)
        return results

    def cost(self, tally: Tally, plan: Plan, cells: Sequence[Cell]) -> None:
        for name, items in plan.side.items():
            tally.ask(items, plan, [cell for cell in cells if cell.behavior != name])

    def numbers(self, cell: MeasuredCell) -> Mapping[str, Any] | None:
        if cell.is_baseline or not cell.plan.side:
            return None
        pairs = {name: cell.paired(f"{SIDE}{name}") for name in cell.plan.side if name != cell.cell.behavior}
        effects = {
            name: {"shift": float(pair.difference.mean()), "ci": pair.interval(cell.seed)}
            for name, pair in pairs.items()
            if len(pair.difference)
        }
        return {"side_effects": effects}
