"""Vectors in torch's files: the paper's `vec_layer_N_MODEL.pt`, and what lm-evaluation-harness' steered models read.

Neither is ever unpickled: only tensors and plain values are read.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparisons.method.vector_files import MALFORMED, Origin, Vectors, checked, write_whole
from comparisons.util.errors import CompareError

SUFFIXES = (".pt", ".pth")
_PAPER = re.compile(r"vec_layer_([0-9]{1,6})(?:_(.+))?")
_HOOKPOINT = re.compile(r"(.+)\.([0-9]{1,6})")
_ADD = "add"


def read_paper(paths: Sequence[Path]) -> Vectors:
    """Reads the paper's files, `vec_layer_N_MODEL.pt`: one tensor [width] each, of the block N counted from 0.

    Raises:
        CompareError: a file can't be read, is of another kind, or they are of several models.
    """
    layers, models = dict[int, Any](), dict[str | None, Path]()
    for path in sorted(paths):
        match = _PAPER.fullmatch(path.stem)
        if match is None:
            raise CompareError(f"{path}: its name doesn't say the layer: the paper's files are vec_layer_N_MODEL.pt.")
        models.setdefault(match[2], path)
        if int(match[1]) in layers and len(models) == 1:
            raise CompareError(f"{path}: another file is of layer {int(match[1])} too: name the files of one model.")
        vector = read_torch(path)
        if getattr(vector, "dim", None) is None:
            raise CompareError(f"{path} holds {type(vector).__name__}, not a tensor.")
        layers[int(match[1])] = vector
    if len(models) > 1:
        one, other = list(models.values())[:2]
        raise CompareError(f"{one.name} and {other.name} are of two models: name the files of one.")
    behavior = paths[0].resolve().parent.name
    return checked(Vectors(layers, Origin(kind="paper", model=next(iter(models)), behavior=behavior)), _shared(paths))


def _shared(paths: Sequence[Path]) -> str:
    return str(paths[0] if len(paths) == 1 else paths[0].parent)


def write_steered(path: Path, vectors: Vectors, multiplier: float) -> None:
    """Writes what `--model steered --model_args pretrained=…,steer_path=…` of lm-evaluation-harness adds.

    A dict from hookpoint, a module's dotted path inside the base model, to the vector, its coefficient and action. The
    harness adds it to that module's output at every token; all hookpoints act at once.

    Raises:
        CompareError: the vectors' file doesn't tell the hookpoint, or the file can't be written.
    """
    import torch

    place = vectors.origin.hookpoint
    if place is None:
        raise CompareError(
            "the vectors' file doesn't say where the blocks are: name them by --hookpoint (layers, h, …)."
        )
    steps = {
        f"{place}.{layer}": {
            "steering_vector": vector.float().clone(),
            "steering_coefficient": float(multiplier),
            "action": _ADD,
            "bias": None,
            "head_index": None,
        }
        for layer, vector in vectors.layers.items()
    }
    data = io.BytesIO()
    torch.save(steps, data)
    write_whole(path, data.getvalue())


def read_steered(steps: dict[Any, Any], path: Path) -> Vectors:
    """Reads what a steered model of lm-evaluation-harness adds: each vector times its coefficient.

    Args:
        steps: what the file holds.
        path: for messages.

    Raises:
        CompareError: a hookpoint isn't a block, or its action isn't to add a vector to the whole of it.
    """
    layers, places = dict[int, Any](), set()
    for hookpoint, step in steps.items():
        match = _HOOKPOINT.fullmatch(str(hookpoint))
        if match is None or not isinstance(step, dict) or not hasattr(step.get("steering_vector"), "dim"):
            raise CompareError(f"{path}: '{hookpoint}' is no block with a steering_vector, such as layers.13.")
        if step.get("action") != _ADD or step.get("head_index") is not None or step.get("bias") is not None:
            raise CompareError(f"{path}: {hookpoint} does not just add a vector to the block's output.")
        places.add(match[1])
        layers[int(match[2])] = step["steering_vector"].float() * float(step.get("steering_coefficient", 1.0))
    if len(places) != 1:
        raise CompareError(
            f"{path}: its hookpoints are not blocks of one list: {', '.join(map(str, steps)) or 'none'}."
        )
    return checked(Vectors(layers, Origin(kind="steered", hookpoint=places.pop())), str(path))


def read_torch(path: Path) -> Any:
    """What a torch file holds, if that is tensors and plain values.

    Raises:
        CompareError: it can't be read, or to open it would run code.
    """
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            # It warns of old pickles before it refuses them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CompareError(f"{path}: there is no such file.") from None
    except pickle.UnpicklingError as error:
        raise CompareError(
            f"{path} holds more than tensors, or is no torch file; opening it could run code, so it was not: "
            "save the tensor itself."
        ) from error
    except (*MALFORMED, RuntimeError, EOFError) as error:
        raise CompareError(f"{path} can't be read as a torch file: {' '.join(str(error).split())[:200]}") from error
