"""A behavior's contrast activations: their file, and their two principal components with what these follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from comparisons.dataset.items import Item
from comparisons.method.vector_files import Origin, origin_texts, read_origin, read_tensors, write_tensors
from comparisons.stats.units import FloatArray
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layer_ranges, layers_among
from comparisons.util.table import Column, Row, Table, number

if TYPE_CHECKING:
    import torch

ACTIVATIONS = "activations"
FOLDER = "activations"
"""Where the files lie, beside those of the vectors."""


@dataclass(frozen=True)
class Pair:
    """What of an item its activations are looked at by.

    Attributes:
        matching: the letter of its first half; "" where no letter was read.
        contrast: the letter of its second half; "" where no letter was read.
        template: items of one template are one cluster.
    """

    id: str
    matching: str
    contrast: str
    label: str | None = None
    template: str | None = None

    @classmethod
    def of(cls, item: Item, letters: bool = True) -> Pair:
        """An item's, with its letters where these are read."""
        matching, contrast = (item.matching, item.contrast) if letters else ("", "")
        return cls(item.id, matching, contrast, item.label, item.template)


@dataclass(frozen=True)
class Contrast:
    """Contrast activations: block outputs of both halves of each pair, read where `origin.read` says.

    Attributes:
        activations: [pairs, 2, layers, width] float32, the matching answer first.
        layers: 0-based blocks, in their order.
    """

    activations: torch.Tensor
    layers: tuple[int, ...]
    pairs: tuple[Pair, ...]
    origin: Origin

    def at(self, layer: int) -> torch.Tensor:
        """[pairs, 2, width] of one layer; raises CompareError where it isn't there."""
        if layer not in self.layers:
            raise CompareError(
                f"there are no activations of layer {layer}: there are layers {layer_ranges(self.layers)}."
            )
        return self.activations[:, :, self.layers.index(layer)]

    @property
    def clusters(self) -> Sequence[str | None]:
        """Each pair's template."""
        return [pair.template for pair in self.pairs]


def save_contrast(path: Path, contrast: Contrast) -> None:
    """Writes contrast activations; the folder is made.

    One tensor `activations`; metadata: `format_version`, the origin's fields, `layers` and `items` as JSON.
    """
    texts = {
        **origin_texts(contrast.origin),
        "layers": json.dumps(list(contrast.layers)),
        "items": json.dumps([asdict(pair) for pair in contrast.pairs], ensure_ascii=False),
    }
    write_tensors(path, {ACTIVATIONS: contrast.activations}, texts)


def load_contrast(path: Path) -> Contrast:
    """Reads what `save_contrast` wrote; raises CompareError where it can't be read, or holds something else."""
    tensors, texts = read_tensors(path)
    if list(tensors) != [ACTIVATIONS] or not {"layers", "items"} <= texts.keys():
        raise CompareError(
            f"{path} holds no contrast activations: write them by compare vectors fit --save-activations."
        )
    activations = tensors[ACTIVATIONS]
    try:
        layers = tuple(int(layer) for layer in json.loads(texts["layers"]))
        pairs = tuple(Pair(**fields) for fields in json.loads(texts["items"]))
    except (ValueError, TypeError) as error:
        raise CompareError(f"{path}: its metadata can't be read: {' '.join(str(error).split())}.") from error
    if activations.dim() != 4 or activations.shape[:3] != (len(pairs), 2, len(layers)):
        raise CompareError(
            f"{path}: activations of {list(activations.shape)} aren't [pairs, 2, layers, width]: fit them again."
        )
    if not bool(activations.isfinite().all()):
        raise CompareError(f"{path}: the activations hold NaN or infinity: fit them again.")
    return Contrast(activations.float(), layers, pairs, read_origin(texts, path))


Of = Literal["activations", "differences"]
SIDES = ("matching", "contrast")


@dataclass(frozen=True)
class Principal:
    """Rows of a matrix on its first two principal components.

    Attributes:
        places: [rows, 2], centred.
        explained: each component's share of the variance; 0 where there is none.
    """

    places: FloatArray
    explained: tuple[float, float]


@dataclass(frozen=True)
class LayerView:
    """One layer's points, and what the two components follow.

    Attributes:
        layer: 0-based block.
        places: [points, 2].
        explained: each component's share of the variance.
        follows: by "side", "letter" and "label": a correlation for each component, None where that doesn't vary.
    """

    layer: int
    places: FloatArray
    explained: tuple[float, float]
    follows: dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Components:
    """The views of all layers.

    Attributes:
        of: "activations": a point a half of a pair; "differences": a point a pair.
        sides: which half each point is; the same for all differences.
        letters: the letter of each point; of a difference the matching one.
    """

    name: str
    of: Of
    sides: tuple[str, ...]
    letters: tuple[str, ...]
    labels: tuple[str | None, ...]
    views: tuple[LayerView, ...]

    @property
    def table(self) -> Table:
        """A line a layer."""
        groups = [group for group in ("side", "letter", "label") if any(view.follows.get(group) for view in self.views)]
        heads = [Column("layer"), Column("explained 1"), Column("explained 2")]
        heads += [Column(f"{group} r{place}") for group in groups for place in (1, 2)]
        rows = []
        for view in self.views:
            cells = [str(view.layer), *(f"{share:.1%}" for share in view.explained)]
            for group in groups:
                cells += [number(r, signed=True) for r in view.follows[group]]
            rows.append(Row(tuple(cells), ""))
        return Table(tuple(heads), tuple(rows), self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the columns mean."""
        notes = ["r1, r2: correlation of a component with it; a component's sign is arbitrary."]
        if len(set(self.labels) - {None}) > 2:
            notes.append("label: correlation ratio, 0 to 1, since there are more than two labels.")
        return tuple(notes)

    @property
    def records(self) -> list[dict[str, object]]:
        """One a layer and component."""
        return [
            {
                "behavior": self.name,
                "layer": view.layer,
                "component": place + 1,
                "explained": view.explained[place],
                **{f"r_{group}": values[place] for group, values in view.follows.items()},
            }
            for view in self.views
            for place in (0, 1)
        ]


def components(contrast: Contrast, layers: Parts, of: Of = "activations") -> Components:
    """Finds the components of each layer.

    Source: the paper (section 3, figures of contrast activations), plot_activations of its repository; differences as
    in RepE's reading vectors.

    Raises:
        CompareError: a layer is missing, or there are fewer than three points.
    """
    chosen = layers_among(layers, contrast.layers, "the file")
    pairs = contrast.pairs
    halves = SIDES if of == "activations" else SIDES[:1]
    sides = [side for _ in pairs for side in halves]
    letters = [letter for pair in pairs for letter in (pair.matching, pair.contrast)[: len(halves)]]
    labels = [pair.label for pair in pairs for _ in halves]
    if len(sides) < 3:
        raise CompareError(f"{len(pairs)} pairs are too few for components: fit more.")
    views = []
    for layer in chosen:
        data = np.asarray(contrast.at(layer), np.float64)
        points = data.reshape(-1, data.shape[-1]) if of == "activations" else data[:, 0] - data[:, 1]
        axes = principal(points)
        groups: dict[str, Sequence[str | None]] = {"side": sides, "letter": letters, "label": labels}
        follows = {
            name: (follow(axes.places[:, 0], group), follow(axes.places[:, 1], group))
            for name, group in groups.items()
            if len({value for value in group if value is not None}) > 1
        }
        views.append(LayerView(layer, axes.places, axes.explained, follows))
    name = contrast.origin.behavior or "pairs"
    return Components(name, of, tuple(sides), tuple(letters), tuple(labels), tuple(views))


def principal(points: FloatArray) -> Principal:
    """The first two principal components, from the eigenvectors of the smaller of the two Gram matrices.

    Each component's sign is chosen so that its largest coordinate is positive: the same points give the same picture.
    """
    centred = points - points.mean(axis=0)
    wide = centred.shape[0] <= centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    best = np.argsort(values)[::-1][:2]
    axes = centred.T @ vectors[:, best] if wide else vectors[:, best]
    axes /= np.maximum(np.linalg.norm(axes, axis=0), np.finfo(np.float64).tiny)
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    total = float((centred**2).sum())
    places, shares = np.zeros((len(points), 2)), [0.0, 0.0]
    for component in range(axes.shape[1] if total else 0):
        places[:, component] = centred @ axes[:, component]
        shares[component] = float((places[:, component] ** 2).sum() / total)
    return Principal(places, (shares[0], shares[1]))


def follow(values: FloatArray, groups: Sequence[str | None]) -> float | None:
    """How closely numbers follow a grouping.

    Of two groups the (point-biserial) correlation, positive where the group that comes first in the alphabet has
    the larger numbers; of more the correlation ratio η, 0 to 1. Points without a group are left out.

    Returns:
        None where the numbers don't vary or there is one group.
    """
    kept = [place for place, group in enumerate(groups) if group is not None]
    names = sorted({groups[place] or "" for place in kept})
    data = values[kept] - values[kept].mean()
    total = float((data**2).sum())
    if len(names) < 2 or total <= 1e-20 * max(1.0, float((values**2).sum())):
        return None
    member = np.array([[groups[place] == name for place in kept] for name in names])
    counts = member.sum(axis=1)
    means = member @ data / counts
    ratio = float(np.sqrt((counts * means**2).sum() / total))
    return ratio if len(names) > 2 else float(np.copysign(ratio, means[0] - means[1]))
