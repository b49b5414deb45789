"""The file of a behavior's vectors: safetensors with a tensor a layer, and where they are from."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.model.checks import warn_of_another_model
from comparisons.util.errors import CompareError
from comparisons.util.files import write_bytes
from comparisons.util.layers import layer_ranges

if TYPE_CHECKING:
    import torch

    from comparisons.model.lm import LM

FORMAT_KEY, FORMAT = "format_version", "1"
SUFFIX = ".safetensors"
MALFORMED = (
    *(OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, AssertionError, MemoryError),
    struct.error,
)
"""What readers of other libraries raise on bytes that are no such file."""

MEAN_DIFFERENCE = "mean-difference"
_LAYER = re.compile(r"layer_(0|[1-9][0-9]{0,5})")
_COUNT = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Origin:
    """Where vectors are from; None is unknown, as for files that others wrote.

    Attributes:
        kind: how they were made: "mean-difference", or what an imported file is.
        revision: its commit on the hub.
        digest: content hash of the model, its tokenizer and prompt format.
        model_type: the family, as the model's configuration names it.
        blocks: how many decoder blocks the model has.
        hookpoint: dotted path of the blocks inside the model's base model.
        prompt_format: in which the pairs were read.
        data_hash: content hash of the behavior that they were fitted on.
        pairs: how many contrast pairs they are the mean of.
        normalized: the behaviors to whose mean norm they were scaled, with commas.
        read: where the pairs were read: "letter", "answer" or "prompt_end".
    """

    kind: str | None = None
    model: str | None = None
    revision: str | None = None
    digest: str | None = None
    model_type: str | None = None
    blocks: int | None = None
    hookpoint: str | None = None
    prompt_format: str | None = None
    behavior: str | None = None
    data_hash: str | None = None
    pairs: int | None = None
    normalized: str | None = None
    read: str | None = None


@dataclass(frozen=True)
class Vectors:
    """One vector a layer.

    Attributes:
        layers: 0-based block -> [width] float32: what is added to the block's output. At least one, of one width.
        origin: where they are from.
    """

    layers: Mapping[int, torch.Tensor]
    origin: Origin = Origin()

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        return len(next(iter(self.layers.values())))

    @property
    def norms(self) -> dict[int, float]:
        """Euclidean norm by layer."""
        return {layer: float(vector.norm()) for layer, vector in self.layers.items()}

    def vector(self, layer: int) -> torch.Tensor:
        """The vector of a layer; raises CompareError where there is none."""
        if layer not in self.layers:
            raise CompareError(f"there is no vector of layer {layer}: there are layers {layer_ranges(self.layers)}.")
        return self.layers[layer]

    def only(self, layers: Iterable[int]) -> Vectors:
        """The vectors of these layers; raises CompareError where one is missing."""
        return replace(self, layers={layer: self.vector(layer) for layer in sorted(set(layers))})

    def check_model(self, lm: LM, where: str) -> Vectors:
        """The vectors themselves, if they are for this model, with a warning where they are of another of its shape.

        Raises:
            CompareError: the model has another width, or no such block; `where` begins the message.
        """
        if self.width != lm.width:
            raise CompareError(
                f"{where}: the vectors have width {self.width} and {lm.name} has {lm.width}: fit vectors on this model."
            )
        if max(self.layers) >= len(lm.blocks):
            raise CompareError(
                f"{where}: there is a vector of layer {max(self.layers)}, but {lm.name} has layers 0 to "
                f"{len(lm.blocks) - 1}: fit vectors on this model."
            )
        warn_of_another_model(f"what {where} holds", self.origin.model, lm.name)
        return self


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Writes vectors; the folder is made.

    Tensors `layer_N` [width] float32; metadata, all text: `format_version`, the origin's fields, `width`, and `norms`
    by layer as JSON.
    """
    tensors = {f"layer_{layer}": vectors.layers[layer].float() for layer in sorted(vectors.layers)}
    norms = {str(layer): round(norm, 6) for layer, norm in sorted(vectors.norms.items())}
    write_tensors(
        path, tensors, {**origin_texts(vectors.origin), "width": str(vectors.width), "norms": json.dumps(norms)}
    )


def load_vectors(path: Path) -> Vectors:
    """Reads what `save_vectors` wrote, or any safetensors file with tensors `layer_N` of one width.

    Raises:
        CompareError: it can't be read, holds something else, or vectors of several widths or that aren't finite.
    """
    tensors, texts = read_tensors(path)
    if "activations" in tensors:
        raise CompareError(f"{path} holds contrast activations, not vectors, which are one folder above.")
    other = [name for name in tensors if not _LAYER.fullmatch(name)]
    if other or not tensors:
        held = f"a tensor '{other[0]}'" if other else "no tensors"
        raise CompareError(f"{path} holds {held}: vectors are tensors layer_0, layer_1, … (compare vectors fit).")
    vectors = Vectors({int(name[6:]): tensor for name, tensor in tensors.items()}, read_origin(texts, path))
    return checked(vectors, str(path))


def checked(vectors: Vectors, where: str) -> Vectors:
    """The vectors in the order of their layers, float32.

    Raises:
        CompareError: wrong shapes, several widths, or numbers that aren't finite; `where` begins the message.
    """
    for layer, vector in vectors.layers.items():
        if vector.dim() != 1 or not len(vector) or not vector.is_floating_point():
            kind = str(vector.dtype).removeprefix("torch.")
            raise CompareError(
                f"{where}: layer {layer} is {list(vector.shape)} {kind}: a vector is one row of numbers, [width]."
            )
        if len(vector) != vectors.width:
            raise CompareError(
                f"{where}: layer {layer} has width {len(vector)} and another layer {vectors.width}: "
                "they are not of one model."
            )
        if not bool(vector.isfinite().all()):
            raise CompareError(f"{where}: layer {layer} holds NaN or infinity: fit it again.")
    blocks = vectors.origin.blocks
    if blocks is not None and max(vectors.layers) >= blocks:
        raise CompareError(f"{where}: has a layer {max(vectors.layers)}, but its model has {blocks} blocks.")
    return replace(vectors, layers={layer: vectors.layers[layer].float() for layer in sorted(vectors.layers)})


def origin_texts(origin: Origin) -> dict[str, str]:
    """An origin as a file's metadata; what is unknown is left out."""
    values = {field.name: getattr(origin, field.name) for field in fields(Origin)}
    return {name: str(value) for name, value in values.items() if value is not None}


def read_origin(texts: Mapping[str, str], path: Path) -> Origin:
    """The origin that a file's metadata tell.

    Raises:
        CompareError: the file is of a later format, or a number isn't one.
    """
    if texts.get(FORMAT_KEY, FORMAT) != FORMAT:
        raise CompareError(f"{path} has format {texts[FORMAT_KEY]}: this version reads {FORMAT}; update the program.")
    values: dict[str, Any] = {field.name: texts[field.name] for field in fields(Origin) if field.name in texts}
    for name in ("blocks", "pairs"):
        if name in values:
            if not _COUNT.fullmatch(values[name]):
                raise CompareError(f"{path}: its metadata say {name}={values[name]}, which is no number.")
            values[name] = int(values[name])
    return Origin(**values)


def check_path(path: Path) -> Path:
    """The path itself; raises CompareError unless it can be told by its name from other kinds of files."""
    if path.suffix != SUFFIX:
        raise CompareError(f"{path}: a file of vectors ends in {SUFFIX}.")
    return path


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> None:
    """Writes a safetensors file whole or not at all, with our format's number; the folder is made."""
    from safetensors.torch import save

    write_whole(path, save({name: t.contiguous().cpu() for name, t in tensors.items()}, {FORMAT_KEY: FORMAT, **texts}))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, and makes its folder; raises CompareError where it can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        raise CompareError(f"{path} can't be written: {error.strerror}.") from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and metadata of a safetensors file; raises CompareError where there is none, or it isn't one."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CompareError(f"{path}: there is no such file.")
    if path.suffix != SUFFIX:
        raise CompareError(f"{path} is no {SUFFIX} file: bring it in by compare vectors import {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CompareError(f"{path} can't be read as safetensors: {' '.join(str(error).split())}") from error
