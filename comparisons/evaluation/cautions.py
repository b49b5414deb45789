"""What must be said beside a cell's numbers because of the data behind them."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.dataset.items import Item
from comparisons.experiment.specification import Cell
from comparisons.results.findings import FEW


def cautions(cell: Cell, asked: Sequence[Item], trained: Sequence[Item]) -> list[str]:
    """Warnings of too few items, and of items that all match under one letter.

    Args:
        cell: the cell.
        asked: the questions behind its numbers.
        trained: the training pairs; they count where the cell has fitted something.
    """
    found = [f"only {len(asked)} questions: too few for the interval to mean much"] if len(asked) < FEW else []
    letter = only_letter(asked)
    if letter is not None:
        found.append(f"every question has its matching choice under ({letter}) as given")
    if any(element.method.fits != "never" for element in cell.elements):
        if 0 < len(trained) < FEW:
            found.append(f"fitted on only {len(trained)} pairs")
        letter = only_letter(trained)
        if letter is not None:
            found.append(
                f"every training pair has its matching choice under ({letter}): what was fitted may be a liking for "
                "that letter"
            )
    return found


def only_letter(items: Sequence[Item]) -> str | None:
    """The letter under which every item has its matching choice; None where they differ, or where there is one item."""
    letters = {item.matching for item in items}
    return letters.pop() if len(letters) == 1 and len(items) > 1 else None
