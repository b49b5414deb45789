"""Scales several behaviors' vectors, layer by layer, to one norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from comparisons.method.vector_files import Vectors
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_ranges


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
