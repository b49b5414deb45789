"""Takes vectors out, into the files of other programs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from comparisons.method.vector_files import load_vectors
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layers_among
from comparisons.vectors.gguf import SUFFIX as GGUF
from comparisons.vectors.gguf import write_gguf
from comparisons.vectors.torchfiles import SUFFIXES, write_steered

KINDS = {"gguf": (GGUF,), "lm-eval": SUFFIXES}
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
    found = load_vectors(path)
    notes = []
    chosen = layers_among(layers, found.layers, str(path))
    if kind == "gguf" and 0 in chosen and None in layers and len(chosen) > 1:
        chosen = chosen[1:]
        notes.append("layer 0 is left out: llama.cpp's control vectors begin at layer 1.")
    found = found.only(chosen)
    if len(chosen) > 1:
        notes.append(f"{len(chosen)} layers are added at once, unless the other program is told which.")
    if kind == "gguf":
        write_gguf(out, replace(found, layers={n: vector * multiplier for n, vector in found.layers.items()}))
    else:
        origin = replace(found.origin, hookpoint=hookpoint or found.origin.hookpoint)
        write_steered(out, replace(found, origin=origin), multiplier)
    return notes
