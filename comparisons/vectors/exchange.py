"""Brings vectors of other programs in, whatever kind of file they are in, and takes ours out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from comparisons.method.vector_files import SUFFIX, Vectors, load_vectors
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layers_among
from comparisons.vectors.foreign import (
    GGUF,
    TORCH,
    read_gguf,
    read_paper,
    read_steered,
    read_torch,
    write_gguf,
    write_steered,
)

if TYPE_CHECKING:
    from comparisons.model.lm import LM


def read_foreign(paths: Sequence[Path], behavior: str | None = None, lm: LM | None = None) -> Vectors:
    """Reads vectors that another program wrote.

    Args:
        paths: a folder or files of the paper's `vec_layer_*.pt`; one .gguf control vector; one .pt file of a steered
            model of lm-evaluation-harness; one .safetensors file with tensors layer_N; or hub:ORG/NAME, which
            `compare share` has written.
        behavior: its name, where the files don't tell it.
        lm: the model that they are for; its weights are not needed.

    Raises:
        CompareError: they can't be read, or are for a model of another width or with fewer blocks.
    """
    vectors = _read(paths)
    origin = vectors.origin if behavior is None else replace(vectors.origin, behavior=behavior)
    if lm is not None:
        from comparisons.vectors.fit import origin_of_shape

        vectors.check_model(lm, str(paths[0]))
        origin = origin_of_shape(lm, origin)
    return replace(vectors, origin=origin)


def _read(paths: Sequence[Path]) -> Vectors:
    files = _files([_brought(path) for path in paths])
    first = files[0]
    if first.suffix in TORCH:
        held = read_torch(first) if len(files) == 1 else None
        return read_steered(held, first) if isinstance(held, dict) else read_paper(files)
    if len(files) > 1:
        raise CompareError(f"name one file: only the paper's vec_layer_*.pt are several, not {first} and {files[1]}.")
    readers = {GGUF: read_gguf, SUFFIX: load_vectors}
    if first.suffix not in readers:
        known = ", ".join([*TORCH, *readers])
        raise CompareError(f"{first}: unknown kind of file: vectors come in {known}, or a folder of vec_layer_*.pt.")
    return readers[first.suffix](first)


def _brought(path: Path) -> Path:
    """A path as it is; of a place on the hub the file of vectors, brought to this machine."""
    from comparisons.util.hub import PREFIX, download, vectors_file

    place = str(path)
    return vectors_file(download(place), place) if place.startswith(PREFIX) else path


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CompareError(f"{path}: there is no such file or folder.")
        inside = sorted(path.glob("vec_layer_*.pt")) if path.is_dir() else [path]
        if not inside:
            raise CompareError(f"{path}: holds no file vec_layer_N_MODEL.pt.")
        files += inside
    return files


KINDS = {"gguf": (GGUF,), "lm-eval": TORCH}
"""What the files of each kind end in, by which their programs know them."""


def export_vectors(
    path: Path, kind: str, layers: Parts, multiplier: float, hookpoint: str | None, out: Path
) -> list[str]:
    """Writes vectors of a file for another program.

    Args:
        path: the file of vectors.
        kind: "gguf" or "lm-eval".
        layers: which; all of them act at once.
        multiplier: of the vectors.
        hookpoint: dotted path of the blocks inside the base model, where the file doesn't tell it.
        out: the file to write.

    Returns:
        What must be said about the file, a line each.

    Raises:
        CompareError: a layer is missing, or can't be expressed in the other program's file.
    """
    if out.suffix not in KINDS[kind]:
        raise CompareError(f"{out}: a file for {kind} ends in {' or '.join(KINDS[kind])}.")
    if not math.isfinite(multiplier) or multiplier == 0:
        raise CompareError(f"--multiplier must be a finite number other than 0, not {multiplier:g}.")
    vectors = load_vectors(path)
    notes = []
    chosen = layers_among(layers, vectors.layers, str(path))
    if kind == "gguf" and 0 in chosen and None in layers and len(chosen) > 1:
        chosen = chosen[1:]
        notes.append("layer 0 is left out: llama.cpp's control vectors begin at layer 1.")
    vectors = vectors.only(chosen)
    if len(chosen) > 1:
        notes.append(f"{len(chosen)} layers are added at once, unless the other program is told which.")
    if kind == "gguf":
        write_gguf(out, replace(vectors, layers={n: vector * multiplier for n, vector in vectors.layers.items()}))
    else:
        origin = replace(vectors.origin, hookpoint=hookpoint or vectors.origin.hookpoint)
        write_steered(out, replace(vectors, origin=origin), multiplier)
    return notes
