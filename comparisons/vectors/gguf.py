"""llama.cpp's control vectors: GGUF files of architecture "controlvector", as repeng writes them too.

llama.cpp adds the tensor `direction.N` to what block N puts out, counted from 0 as we do, and refuses N = 0: a control
vector can't act on the first block (its common_control_vector_load_one and llama_adapter_cvec::apply). repeng reads
and adds `direction.N` at block N as well. So N is our layer. llama.cpp's own generator takes block N - 1's difference
for `direction.N`; a file means where it is added, and is read so.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comparisons.method.vector_files import MALFORMED, Origin, Vectors, checked, write_whole
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

ARCHITECTURE = "controlvector"
SUFFIX = ".gguf"
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
