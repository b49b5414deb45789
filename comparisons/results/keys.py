"""Names of cells: readable, and one for each in a run."""

from __future__ import annotations

BASELINE = "baseline"
IN = " in "
"""Stands before the model in the key of a cell, where a run has several models."""


def baseline_key(behavior: str, model: str = "") -> str:
    """The key of a behavior's baseline.

    Args:
        behavior: its name.
        model: of several; "" where the run has one.
    """
    return on_model(f"{behavior}/{BASELINE}", model)


def on_model(name: str, model: str) -> str:
    """A name with its model, where the run has several."""
    return f"{name}{IN}{model}" if model else name


def later_key(cell: str, evaluation: str) -> str:
    """Under which the finding of an evaluation that comes later is kept: beside the cell's own rows."""
    return f"{cell}#{evaluation}"
