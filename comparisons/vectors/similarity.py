"""How alike vectors are: cosines between layers, behaviors or models, and the principal components of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comparisons.method.vector_files import Vectors
from comparisons.stats.units import FloatArray
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layers_among
from comparisons.util.table import Column, Row, Table, number
from comparisons.vectors.normalize import check_alike

if TYPE_CHECKING:
    import torch

WIDEST = 12
"""Columns up to which a matrix is printed whole."""


@dataclass(frozen=True)
class Cosines:
    """A matrix of cosines.

    Attributes:
        title: what is compared.
        rows: names of its lines.
        columns: names of its columns.
        values: [rows, columns], −1 to 1; NaN where a vector is zero.
        across: what the columns are.
        down: what the lines are.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: FloatArray
    across: str
    down: str

    @property
    def table(self) -> Table:
        """The matrix; where it is wide, each line's nearest and furthest other column."""
        if len(self.columns) > WIDEST:
            return self._extremes
        columns = (Column(self.down, align="left"), *(Column(name) for name in self.columns))
        lines = zip(self.rows, self.values, strict=True)
        return Table(columns, tuple(Row((name, *map(_cosine, line)), "") for name, line in lines))

    @property
    def _extremes(self) -> Table:
        rows = []
        for name, line in zip(self.rows, self.values, strict=True):
            known = [(v, c) for v, c in zip(line, self.columns, strict=True) if c != name and not np.isnan(v)]
            ends = [max(known), min(known)] if known else [(float("nan"), "")] * 2
            rows.append(Row((name, *(cell for value, column in ends for cell in (column, _cosine(value)))), ""))
        heads = (f"nearest {self.across}", "cosine", f"furthest {self.across}", "cosine")
        return Table((Column(self.down, align="left"), *map(Column, heads)), tuple(rows))

    @property
    def records(self) -> list[dict[str, object]]:
        """One for each cell."""
        return [
            {"matrix": self.title, "row": row, "column": column, "cosine": None if np.isnan(value) else float(value)}
            for row, line in zip(self.rows, self.values, strict=True)
            for column, value in zip(self.columns, line, strict=True)
        ]


@dataclass(frozen=True)
class LayerComponents:
    """Layers on two principal components of their unit vectors.

    Attributes:
        title: whose.
        layers: 0-based blocks.
        places: [layers, 2].
        explained: share of the variance of each component.
    """

    title: str
    layers: tuple[int, ...]
    places: FloatArray
    explained: tuple[float, float]


def _cosine(value: float) -> str:
    return number(None if np.isnan(value) else value, signed=True)


def layer_cosines(vectors: Vectors, name: str) -> Cosines:
    """Each layer's vector with each other's."""
    layers = tuple(str(layer) for layer in vectors.layers)
    unit = units(vectors.layers)
    return Cosines(f"{name}: layer with layer", layers, layers, unit @ unit.T, "layer", "layer")


def behavior_cosines(given: Mapping[str, Vectors], layers: Parts | None) -> list[Cosines]:
    """Each behavior's vector with each other's, a matrix a layer.

    Args:
        given: by name.
        layers: which; the middle one by default.

    Raises:
        CompareError: they are of different models or layers, or a layer is missing.
    """
    check_alike(given)
    known = list(next(iter(given.values())).layers)
    chosen = [known[len(known) // 2]] if layers is None else layers_among(layers, known, "every file")
    names = tuple(given)
    matrices = []
    for layer in chosen:
        unit = units({place: vectors.vector(layer) for place, vectors in enumerate(given.values())})
        matrices.append(Cosines(f"layer {layer}", names, names, unit @ unit.T, "behavior", "behavior"))
    return matrices


def model_cosines(one: Vectors, other: Vectors, names: tuple[str, str], title: str) -> Cosines:
    """Each layer's vector on one model with each layer's on another; the models share a width, or there is no cosine.

    Raises:
        CompareError: the widths differ.
    """
    if one.width != other.width:
        raise CompareError(
            f"{names[0]} and {names[1]} have widths {one.width} and {other.width}: there is no cosine between them."
        )
    rows, columns = (tuple(str(layer) for layer in vectors.layers) for vectors in (one, other))
    values = units(one.layers) @ units(other.layers).T
    return Cosines(title, rows, columns, values, f"layer of {names[1]}", f"layer of {names[0]}")


def layer_components(vectors: Vectors, name: str) -> LayerComponents | None:
    """Layers on the first two principal components of their unit vectors; None for fewer than three.

    The norm grows along a model, and would be all that the components of raw vectors show.
    """
    from comparisons.vectors.components import principal

    if len(vectors.layers) < 3:
        return None
    axes = principal(units(vectors.layers))
    return LayerComponents(name, tuple(vectors.layers), axes.places, axes.explained)


def units(given: Mapping[int, torch.Tensor]) -> FloatArray:
    """[vectors, width] of norm 1; NaN for a zero vector."""
    rows = np.stack([np.asarray(vector, np.float64) for vector in given.values()])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, np.nan, norms), np.float64)
