"""What a worker is given: cells that share fits and a prompt's cache, of one behavior on one model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from comparisons.experiment.specification import Cell, Plan


@dataclass(frozen=True)
class Task:
    """One piece of a run.

    Attributes:
        model: its name.
        behavior: its name.
        cells: their keys.
        kind: "evaluate" them; or ask what can only be asked "later".
        heavy: whether something is trained.
        losses: how many workers were lost over it.
    """

    model: str
    behavior: str
    cells: tuple[str, ...]
    kind: Literal["evaluate", "later"] = "evaluate"
    heavy: bool = False
    losses: int = 0


@dataclass(frozen=True)
class Known:
    """What a worker must know of the run's folder.

    Attributes:
        done: keys of cells that ended well.
        rows: the result rows of the behavior's baseline, by its key, where it is done.
        choices: what was chosen on dev.
    """

    done: frozenset[str] = frozenset()
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    choices: tuple[Mapping[str, Any], ...] = ()


def tasks_of(plan: Plan, done: Collection[str]) -> list[Task]:
    """The cells that aren't done, in tasks; what trains comes first, so that the end is not spent waiting for it.

    Where `--select` chooses, the cells of a behavior belong together; else those that rest on the same fits.
    """
    groups: dict[tuple[str, str, object], list[Cell]] = {}
    for cell in plan.cells:
        model = cell.model or plan.spec.model.name
        if plan.spec.select is not None or cell.key not in done:
            groups.setdefault((model, cell.behavior, None if plan.spec.select else _shared(cell)), []).append(cell)
    found = []
    for (model, behavior, _), cells in groups.items():
        if all(cell.key in done for cell in cells):
            continue
        heavy = any(element.method.adapts for cell in cells for element in cell.elements)
        found.append(Task(model, behavior, tuple(cell.key for cell in cells), heavy=heavy))
    return sorted(found, key=lambda task: not task.heavy)


def _shared(cell: Cell) -> object:
    """What cells of a task have in common: fits that adapt weights, and prompts.

    Where settings are chosen, both directions wait for the same trials.
    """
    return tuple(
        (
            element.name,
            repr(element.method),
            element.direction if element.method.fits == "direction" and not element.method.candidates(1) else None,
        )
        for element in cell.elements
        if element.method.adapts or not element.method.dosed
    )
