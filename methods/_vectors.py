"""What methods that steer by one vector a layer share: the layer's choice, the files, the activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.method import Edit, Fit, Intervention, Method, Use, use_only
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

FILE = "vectors.safetensors"
SMALLEST = 1e-12


@dataclass(frozen=True)
class LayerVector(Method):
    """Adds the layer's vector, of all that `fit` wrote, from the last prompt token on."""

    layer: int | Literal["auto"] = use_only("auto")

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "behavior"

    def candidates(self, blocks: int) -> Sequence[Self]:
        return [replace(self, layer=layer) for layer in range(blocks)] if self.layer == "auto" else ()

    def intervene(self, use: Use) -> Intervention:
        layer = chosen_layer(self.layer, type(self).__module__)
        return Intervention(edits=(Edit(layer, read_vector(use.fitted, layer), multiplier=use.signed),))


def chosen_layer(layer: int | Literal["auto"], module: str) -> int:
    """The layer; raises CompareError where none is chosen yet."""
    if layer == "auto":
        name = module.rpartition(".")[2]
        raise CompareError(f"{name}.layer is still auto: choose a layer on dev first, or set {name}.layer=N.")
    return layer


def write_vectors(folder: Path, vectors: torch.Tensor) -> None:
    """Writes the vectors of all layers, [layers, width] or [layers, k, width]."""
    from safetensors.torch import save_file

    save_file({"vectors": vectors.float().contiguous()}, folder / FILE)


def read_vectors(folder: Path) -> torch.Tensor:
    """What `write_vectors` wrote."""
    from safetensors.torch import load_file

    return load_file(folder / FILE)["vectors"]


def read_vector(folder: Path, layer: int) -> torch.Tensor:
    """One layer of what `write_vectors` wrote.

    Raises:
        CompareError: there is no such layer.
    """
    from safetensors import safe_open

    with safe_open(folder / FILE, framework="pt") as file:
        vectors = file.get_slice("vectors")
        count = vectors.get_shape()[0]
        if not 0 <= layer < count:
            raise CompareError(f"layer {layer} is out of range: there are layers 0 to {count - 1}.")
        found: torch.Tensor = vectors[layer]
    return found


def pair_activations(fit: Fit) -> torch.Tensor:
    """Block outputs at the answer letter of each training pair, [pairs, 2, layers, width], the matching one first."""
    import torch

    from comparisons.engine.activations import contrast_activations

    return torch.cat([found for _, found in contrast_activations(fit.lm, fit.behavior.train, below=fit.below)])


def scaled_like_difference(directions: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Directions with the norm and the side of the mean difference of pairs, which makes doses comparable.

    Args:
        directions: [layers, width], of any norm and sign.
        pairs: see `pair_activations`.
    """
    import torch

    mean = (pairs[:, 0] - pairs[:, 1]).double().mean(dim=0)
    unit = directions.double() / directions.double().norm(dim=-1, keepdim=True).clamp(min=SMALLEST)
    side = torch.where((unit * mean).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
    scaled: torch.Tensor = side * mean.norm(dim=-1, keepdim=True) * unit
    return scaled.float()
