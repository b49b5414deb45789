"""How well a vector tells the halves of contrast pairs apart, layer by layer, and how long it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from comparisons.dataset.checks import warn_of_letters
from comparisons.method.vector_files import Vectors
from comparisons.results.gates import LETTERISH
from comparisons.stats import bca_interval
from comparisons.stats.units import FloatArray
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layer_ranges, layers_among
from comparisons.util.table import Column, Table, interval, number
from comparisons.vectors.contrast import Contrast

FOLDS = 5
HELD_OUT = "held-out pairs"


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer.

    Attributes:
        layer: 0-based block.
        norm: of the vector that all pairs give, or of the vector given.
        relative: that norm over the activations' mean norm.
        share: of pairs whose positive half projects higher; a tie counts by half.
        interval: of the share, 95%; None where too few pairs say how sure it is.
        by_letter: the share among the pairs that match under each letter.
        letter_cosine: of the vector with the direction from the second letter to the first; None where no letter was
            read, or all pairs match under one.
        projections: [pairs, 2] of both halves on the unit vector, the matching half first, each fold's from the mean of
            the activations that its vector was fitted on.
    """

    layer: int
    norm: float
    relative: float
    share: float
    interval: tuple[float, float] | None
    by_letter: dict[str, float]
    letter_cosine: float | None
    projections: FloatArray


@dataclass(frozen=True)
class Diagnosis:
    """All layers.

    Attributes:
        judged_on: "held-out pairs", or what else the vectors were tried on.
        letters: under which each pair matches; "" where no letter was read.
    """

    name: str
    judged_on: str
    letters: tuple[str, ...]
    labels: tuple[str | None, ...]
    layers: tuple[LayerDiagnosis, ...]

    @property
    def table(self) -> Table:
        """A line a layer."""

        def by_letter(letter: str) -> Callable[[LayerDiagnosis], str]:
            return lambda layer: number(layer.by_letter[letter])

        fields: list[tuple[Column, Callable[[LayerDiagnosis], str]]] = [
            (Column("layer"), lambda layer: str(layer.layer)),
            (Column("norm", rank=2), lambda layer: number(layer.norm)),
            (Column("norm / activations", rank=1), lambda layer: number(layer.relative)),
            (Column("positive higher"), lambda layer: number(layer.share)),
            (Column("95%", interval=True), lambda layer: interval(layer.interval)),
            *((Column(f"matching {letter}"), by_letter(letter)) for letter in sorted({*self.letters} - {""})),
            (Column("letter cosine"), lambda layer: number(layer.letter_cosine, signed=True)),
        ]
        notes = [f"positive higher: share of the {len(self.labels)} pairs, on {self.judged_on}"]
        if letterish := [layer.layer for layer in self.layers if abs(layer.letter_cosine or 0.0) > LETTERISH]:
            notes.append(f"layers {layer_ranges(letterish)}: the vector is largely the direction between the letters")
        return Table.of(fields, self.layers, notes=notes).without_empty()

    @property
    def records(self) -> list[dict[str, object]]:
        """One a layer."""
        return [
            {
                "behavior": self.name,
                "layer": layer.layer,
                "norm": layer.norm,
                "relative_norm": layer.relative,
                "positive_higher": layer.share,
                "ci_low": layer.interval and layer.interval[0],
                "ci_high": layer.interval and layer.interval[1],
                **{f"matching_{letter}": share for letter, share in sorted(layer.by_letter.items())},
                "letter_cosine": layer.letter_cosine,
                "judged_on": self.judged_on,
            }
            for layer in self.layers
        ]


def diagnose(contrast: Contrast, layers: Parts, vectors: Vectors | None = None) -> Diagnosis:
    """Asks how often the positive half of a pair projects higher.

    Without vectors, the mean difference is judged by five-fold cross-fitting: each pair is projected on the mean
    difference of the other folds' pairs, so that no pair is judged by a vector that it is part of; pairs of one
    template are in one fold. Vectors that are given are taken as they are: if they were fitted on these same pairs,
    that is in sample, and said.

    Raises:
        CompareError: a layer is missing, there are too few pairs to cross-fit, or the vectors have another width.
    """
    chosen = layers_among(layers, contrast.layers, "the file of activations")
    folds = None if vectors is not None else _folds(contrast)
    judged = HELD_OUT + f" ({FOLDS}-fold cross-fitting)" if vectors is None else _judged(contrast, vectors)
    if vectors is not None and vectors.width != contrast.activations.shape[-1]:
        raise CompareError(
            f"the vectors have width {vectors.width} and the activations {contrast.activations.shape[-1]}: "
            "they are not of one model."
        )
    diagnoses = []
    for layer in chosen:
        data = np.asarray(contrast.at(layer), np.float64)
        if vectors is None:
            assert folds is not None
            projections, vector = _cross_fitted(data, folds), (data[:, 0] - data[:, 1]).mean(axis=0)
        else:
            vector = np.asarray(vectors.vector(layer), np.float64)
            projections = _projected(data, vector, data.mean(axis=(0, 1)))
        diagnoses.append(_layer(contrast, layer, data, vector, projections))
    pairs = contrast.pairs
    name = contrast.origin.behavior or "pairs"
    warn_of_letters(name, pairs)
    letters, labels = tuple(pair.matching for pair in pairs), tuple(pair.label for pair in pairs)
    return Diagnosis(name, judged, letters, labels, tuple(diagnoses))


def _layer(
    contrast: Contrast, layer: int, data: FloatArray, vector: FloatArray, projections: FloatArray
) -> LayerDiagnosis:
    higher = (np.sign(projections[:, 0] - projections[:, 1]) + 1) / 2
    letters = np.array([pair.matching for pair in contrast.pairs])
    norm = float(np.linalg.norm(vector))
    return LayerDiagnosis(
        layer=layer,
        norm=norm,
        relative=norm / float(np.linalg.norm(data, axis=-1).mean()),
        share=float(higher.mean()),
        interval=bca_interval(higher, clusters=contrast.clusters),
        by_letter={
            str(letter): float(higher[letters == letter].mean()) for letter in np.unique(letters[letters != ""])
        },
        letter_cosine=_letter_cosine(data[:, 0] - data[:, 1], letters, vector),
        projections=projections,
    )


def _letter_cosine(differences: FloatArray, letters: np.ndarray, vector: FloatArray) -> float | None:
    """A vector's cosine with the direction between the letters: what differs between pairs that match under each.

    Args:
        differences: [pairs, width] matching minus contrast half, in which what both groups share is the behavior.
        letters: under which each pair matches.
        vector: [width].
    """
    first, *second = np.unique(letters)
    if len(second) != 1 or first == "":
        return None
    direction = differences[letters == first].mean(axis=0) - differences[letters == second[0]].mean(axis=0)
    norms = float(np.linalg.norm(direction) * np.linalg.norm(vector))
    return float(direction @ vector) / norms if norms else None


def _judged(contrast: Contrast, vectors: Vectors) -> str:
    """Whether vectors are tried on the pairs they were fitted on."""
    ours, theirs = contrast.origin.data_hash, vectors.origin.data_hash
    if ours is not None and ours == theirs:
        return "the pairs they were fitted on: in sample, and optimistic"
    return "pairs other than those they were fitted on" if ours and theirs else "these pairs; theirs are unknown"


def _folds(contrast: Contrast) -> FloatArray:
    """[pairs] the fold of each: units are dealt in the order of their letters, then of a hash of their name.

    Were more pairs of a fold to match under one letter, the rest would match more under the other, and their vector
    would point against the fold's letter: a share below one half out of nothing.
    """
    keys = [pair.template or f"\0{pair.id}" for pair in contrast.pairs]
    letters: dict[str, list[str]] = {}
    for key, pair in zip(keys, contrast.pairs, strict=True):
        letters.setdefault(key, []).append(pair.matching)
    ranked = sorted(letters, key=lambda key: (sorted(letters[key]), hashlib.sha256(key.encode()).digest()))
    if len(ranked) < FOLDS:
        raise CompareError(
            f"{len(ranked)} pairs or templates are too few for {FOLDS}-fold cross-fitting: fit more, or judge vectors "
            "of other pairs by --vectors."
        )
    places = {key: place % FOLDS for place, key in enumerate(ranked)}
    return np.array([places[key] for key in keys])


def _cross_fitted(data: FloatArray, folds: FloatArray) -> FloatArray:
    """[pairs, 2] projections of each fold on the mean difference of the others."""
    projections = np.zeros(data.shape[:2])
    for fold in range(FOLDS):
        inside = folds == fold
        rest = data[~inside]
        projections[inside] = _projected(data[inside], (rest[:, 0] - rest[:, 1]).mean(axis=0), rest.mean(axis=(0, 1)))
    return projections


def _projected(data: FloatArray, vector: FloatArray, centre: FloatArray) -> FloatArray:
    """[pairs, 2] lengths along the unit vector, from the centre."""
    norm = float(np.linalg.norm(vector))
    return np.asarray((data - centre) @ (vector / norm if norm else vector), np.float64)


def label_names(labels: Sequence[str | None]) -> tuple[str, ...]:
    """The labels that there are, in order."""
    return tuple(sorted({label for label in labels if label is not None}))
