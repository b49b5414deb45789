"""The file of a behavior's contrast activations: what vectors are the means of, pair by pair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.dataset.items import Item
from comparisons.method.vector_files import Origin, origin_texts, read_origin, read_tensors, write_tensors
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_ranges

if TYPE_CHECKING:
    import torch

ACTIVATIONS = "activations"
FOLDER = "activations"
"""Where the files lie, beside those of the vectors."""


@dataclass(frozen=True)
class Pair:
    """What of an item its activations are looked at by.

    Attributes:
        id: the item's.
        matching: the letter of its first half; "" where no letter was read.
        contrast: the letter of its second half; "" where no letter was read.
        label: whatever truth the file tells about the item.
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
        pairs: in the items' order.
        origin: where they are from.
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
    """Reads what `save_contrast` wrote.

    Raises:
        CompareError: it can't be read, or holds something else.
    """
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
