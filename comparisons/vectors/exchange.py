"""Brings vectors of other programs in, whatever kind of file they are in, and takes ours out.

GGUF files of architecture "controlvector" are written by repeng too. llama.cpp adds the tensor `direction.N` to what
block N puts out, counted from 0 as we do, and refuses N = 0: a control vector can't act on the first block (its
common_control_vector_load_one and llama_adapter_cvec::apply). repeng reads and adds `direction.N` at block N as well.
So N is our layer. llama.cpp's own generator takes block N - 1's difference for `direction.N`; a file means where it
is added, and is read so. Torch files are never unpickled: only tensors and plain values are read.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comparisons.method.vector_files import MALFORMED, SUFFIX, Origin, Vectors, checked, load_vectors, write_whole
from comparisons.util.errors import CompareError
from comparisons.util.layers import Parts, layers_among

if TYPE_CHECKING:
    import torch

    from comparisons.model.lm import LM


ARCHITECTURE = "controlvector"
GGUF = ".gguf"
_DIRECTION = re.compile(r"direction\.(0|[1-9][0-9]{0,5})")
_HINT, _COUNT, _BEHAVIOR = (f"{ARCHITECTURE}.{key}" for key in ("model_hint", "layer_count", "behavior"))


def write_gguf(path: Path, vectors: Vectors) -> None:
    """Writes a control vector; it acts wherever it has a layer, all at once, at every token.

    Raises:
        CompareError: a vector is of layer 0, or the file can't be written.
    """
    from gguf import GGUFWriter

    if 0 in vectors.layers:
        raise CompareError("a control vector can't have layer 0, which llama.cpp refuses: name others by --layers.")
    # The library writes to a path only.
    with TemporaryDirectory() as folder:
        whole = Path(folder, path.name)
        writer = GGUFWriter(whole, ARCHITECTURE)
        writer.add_string(_HINT, vectors.origin.model_type or "unknown")
        writer.add_uint32(_COUNT, len(vectors.layers))
        if vectors.origin.behavior:
            writer.add_string(_BEHAVIOR, vectors.origin.behavior)
        for layer, vector in vectors.layers.items():
            writer.add_tensor(f"direction.{layer}", vector.float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        write_whole(path, whole.read_bytes())


def read_gguf(path: Path) -> Vectors:
    """Reads a control vector.

    Raises:
        CompareError: it can't be read, is another kind of GGUF, or its tensors aren't directions of one width.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture, hint, behavior = (_text(reader, key) for key in ("general.architecture", _HINT, _BEHAVIOR))
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except FileNotFoundError:
        raise CompareError(f"{path}: there is no such file.") from None
    except MALFORMED as error:
        raise CompareError(f"{path} can't be read as GGUF: {' '.join(str(error).split())}.") from error
    if architecture != ARCHITECTURE:
        raise CompareError(
            f"{path} is a GGUF of architecture '{architecture}', not a control vector ('{ARCHITECTURE}')."
        )
    if other := [name for name in tensors if not _DIRECTION.fullmatch(name)]:
        raise CompareError(f"{path} holds a tensor '{other[0]}': a control vector's are direction.1, direction.2, ….")
    if not tensors:
        raise CompareError(f"{path} holds no tensor direction.N.")
    layers = {int(name.partition(".")[2]): _vector(tensor, path) for name, tensor in tensors.items()}
    origin = Origin(kind="control-vector", behavior=behavior, model_type=None if hint == "unknown" else hint)
    return checked(Vectors(layers, origin), str(path))


def _text(reader: Any, key: str) -> str | None:
    field = reader.get_field(key)
    return None if field is None else str(field.contents())


def _vector(tensor: Any, path: Path) -> torch.Tensor:
    import torch
    from gguf import GGMLQuantizationType

    if tensor.tensor_type not in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        raise CompareError(f"{path}: {tensor.name} is {tensor.tensor_type.name}: a control vector's tensors are F32.")
    # A copy: the reader's numbers live in the mapped file.
    return torch.from_numpy(tensor.data.astype("float32"))


TORCH = (".pt", ".pth")
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
    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    return checked(Vectors(layers, Origin(kind="paper", model=next(iter(models)), behavior=behavior)), where)


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
        kind: "gguf" or "lm-eval".
        layers: which; all of them act at once.
        multiplier: of the vectors.
        hookpoint: dotted path of the blocks inside the base model, where the file doesn't tell it.

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
