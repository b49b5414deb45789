"""How alike vectors are: cosines and principal components of layers, behaviors or models; and scaled to one norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comparisons.method.vector_files import Vectors
from comparisons.stats.units import FloatArray
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layer_ranges, layers_among
from comparisons.util.table import Column, Row, Table, number

if TYPE_CHECKING:
    import torch


def normalized(given: Mapping[str, Vectors]) -> dict[str, Vectors]:
    """The vectors scaled at each layer to the mean of their norms there, so that one multiplier is one dose for all.

    Source: the paper's repository, normalize_vectors.py.

    Args:
        given: by the path they were read from.

    Raises:
        CompareError: fewer than two, of different models or layers, or a vector is zero.
    """
    if len(given) < 2:
        raise CompareError("normalize takes the files of two or more behaviors: their mean norm is the new one.")
    check_alike(given)
    (first, one), *others = given.items()
    for path, other in others:
        if one.origin.read and other.origin.read and one.origin.read != other.origin.read:
            raise CompareError(f"{first} and {path} are not alike: read {one.origin.read} and {other.origin.read}.")
    names = ",".join(sorted(vectors.origin.behavior or path for path, vectors in given.items()))
    norms = {path: vectors.norms for path, vectors in given.items()}
    layers = next(iter(norms.values()))
    means = {layer: sum(each[layer] for each in norms.values()) / len(norms) for layer in layers}
    made = {}
    for path, vectors in given.items():
        if zero := [layer for layer, norm in norms[path].items() if norm == 0]:
            raise CompareError(f"{path}: the vector of layer {zero[0]} is zero and can't be scaled.")
        scaled = {layer: vector * (means[layer] / norms[path][layer]) for layer, vector in vectors.layers.items()}
        made[path] = Vectors(scaled, replace(vectors.origin, normalized=names))
    return made


def check_alike(given: Mapping[str, Vectors]) -> None:
    """Raises CompareError unless all vectors are of one model, as far as their files say, and of the same layers."""
    (first, one), *others = given.items()
    for path, other in others:
        for what, left, right in (
            ("width", one.width, other.width),
            ("layers", layer_ranges(one.layers), layer_ranges(other.layers)),
            ("model", _model(one), _model(other)),
        ):
            if left and right and left != right:
                raise CompareError(f"{first} and {path} are not alike: {what} {left} and {right}.")


def _model(vectors: Vectors) -> str | None:
    origin = vectors.origin
    return f"{origin.model} ({origin.digest[:8]})" if origin.model and origin.digest else origin.model


def targets(paths: Sequence[Path], out: Path | None) -> list[Path]:
    """Where the scaled vectors go: under their own names into a folder, by default normalized/ beside the first.

    Raises:
        CompareError: two files have one name, or a file would be written over itself.
    """
    folder = out or paths[0].parent / "normalized"
    made = [folder / path.name for path in paths]
    if twice := next((path.name for path in paths if made.count(folder / path.name) > 1), None):
        raise CompareError(f"two files are called {twice}: they would be written over one another; rename one.")
    if over := next((path for path, new in zip(paths, made, strict=True) if path.resolve() == new.resolve()), None):
        raise CompareError(f"{over} would be written over: name another folder by --out.")
    return made


WIDEST = 12
"""Columns up to which a matrix is printed whole."""


@dataclass(frozen=True)
class Cosines:
    """A matrix of cosines.

    Attributes:
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
    from comparisons.vectors.contrast import principal

    if len(vectors.layers) < 3:
        return None
    axes = principal(units(vectors.layers))
    return LayerComponents(name, tuple(vectors.layers), axes.places, axes.explained)


def units(given: Mapping[int, torch.Tensor]) -> FloatArray:
    """[vectors, width] of norm 1; NaN for a zero vector."""
    rows = np.stack([np.asarray(vector, np.float64) for vector in given.values()])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, np.nan, norms), np.float64)
