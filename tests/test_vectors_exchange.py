"""Vectors to and from other programs: what goes out comes back, the others read it, and wrong files are one line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from comparisons.model.lm import LM
from comparisons.util.layers import layer_parts
from comparisons.vectors import Origin, Vectors, load_vectors, save_vectors
from comparisons.vectors.exchange import export_vectors, read_foreign, read_gguf
from comparisons.vectors.fit import fit_vectors, origin_of_shape
from tests.places import complaint
from tests.tiny import WIDTH, tiny_behavior, tiny_lm


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm()


@pytest.fixture
def fitted(lm: LM, tmp_path: Path) -> Path:
    """A file of vectors at layers 0 to 3."""
    path = tmp_path / "agreement.safetensors"
    save_vectors(path, fit_vectors(lm, tiny_behavior(6), range(4))[0])
    return path


def export(source: Path, kind: str, layers: str, out: Path, multiplier: float = 1.0) -> list[str]:
    return export_vectors(source, kind, layer_parts(layers), multiplier, None, out)


def test_a_control_vector_is_what_the_gguf_library_reads(fitted: Path, tmp_path: Path) -> None:
    notes = export(fitted, "gguf", "all", tmp_path / "a.gguf", multiplier=-2.0)
    assert "layer 0 is left out" in notes[0] and "3 layers are added at once" in notes[1]
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama" and fields["controlvector.layer_count"] == 3
    given = load_vectors(fitted)
    # llama.cpp counts blocks from 0 too, and adds direction.N to the output of block N.
    assert {tensor.name for tensor in reader.tensors} == {"direction.1", "direction.2", "direction.3"}
    for tensor in reader.tensors:
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32 and list(tensor.shape) == [WIDTH]
        np.testing.assert_array_equal(tensor.data, -2 * given.vector(int(tensor.name[-1])).numpy())


def test_a_control_vector_comes_back(fitted: Path, tmp_path: Path, lm: LM) -> None:
    export(fitted, "gguf", "1-3", tmp_path / "a.gguf")
    found = read_foreign([tmp_path / "a.gguf"], lm=lm)
    given = load_vectors(fitted)
    assert list(found.layers) == [1, 2, 3] and all(torch.equal(v, given.layers[n]) for n, v in found.layers.items())
    assert found.origin.behavior == "agreement" and found.origin.model_type == "llama"
    assert found.origin.blocks == 4 and found.origin.kind == "control-vector"
    save_vectors(tmp_path / "back.safetensors", found)
    assert load_vectors(tmp_path / "back.safetensors").origin == found.origin


def write_control(path: Path, tensors: dict[str, Any], architecture: str = "controlvector") -> Path:
    """As repeng writes one, by the gguf library."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string(f"{architecture}.model_hint", "mistral")
    writer.add_uint32(f"{architecture}.layer_count", len(tensors))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_another_programs_control_vector_is_read(tmp_path: Path) -> None:
    tensors = {f"direction.{layer}": np.arange(8, dtype=np.float32) + layer for layer in (11, 2, 7)}
    found = read_gguf(write_control(tmp_path / "a.gguf", tensors))
    assert list(found.layers) == [2, 7, 11] and found.origin.model_type == "mistral"
    np.testing.assert_array_equal(found.vector(7).numpy(), tensors["direction.7"])
    half = write_control(tmp_path / "half.gguf", {"direction.1": np.ones(8, dtype=np.float16)})
    assert read_gguf(half).vector(1).dtype == torch.float32


ROW = np.ones(8, dtype=np.float32)
WRONG_GGUF: dict[str, tuple[Callable[[Path], object], str]] = {
    "no GGUF": (lambda path: path.write_bytes(b"nothing like it" * 9), "can't be read as GGUF"),
    "empty": (lambda path: path.write_bytes(b""), "can't be read as GGUF"),
    "absent": (lambda path: None, "no such file"),
    "a model": (lambda path: write_control(path, {"direction.1": ROW}, "llama"), "architecture 'llama'"),
    "other tensors": (lambda path: write_control(path, {"weight": ROW}), "holds a tensor 'weight'"),
    "no tensors": (lambda path: write_control(path, {}), "holds no tensor direction.N"),
    "shape": (lambda path: write_control(path, {"direction.1": np.ones((2, 8), np.float32)}), "[2, 8]"),
    "widths": (lambda path: write_control(path, {"direction.1": ROW, "direction.2": ROW[:4]}), "another layer"),
    "kind": (lambda path: write_control(path, {"direction.1": np.ones(8, np.float64)}), "is F64"),
}


@pytest.mark.parametrize("name", WRONG_GGUF)
def test_a_wrong_control_vector_is_one_line(name: str, tmp_path: Path) -> None:
    write, line = WRONG_GGUF[name]
    write(tmp_path / "a.gguf")
    assert line in complaint(lambda: read_foreign([tmp_path / "a.gguf"]))


def test_a_control_vector_cut_off_anywhere_is_one_line(fitted: Path, tmp_path: Path) -> None:
    export(fitted, "gguf", "1", tmp_path / "a.gguf")
    whole = (tmp_path / "a.gguf").read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "a.gguf").write_bytes(whole[:length])
        assert "can't be read as GGUF" in complaint(lambda: read_gguf(tmp_path / "a.gguf"))


def test_a_steered_model_adds_the_vector_at_the_block(fitted: Path, tmp_path: Path, lm: LM) -> None:
    """Read as lm-evaluation-harness reads it: modules of the base model by name, and a multiple of a vector added."""
    assert export(fitted, "lm-eval", "2", tmp_path / "a.pt", multiplier=3.0) == []
    ((hookpoint, step),) = torch.load(tmp_path / "a.pt", weights_only=True).items()
    assert step["action"] == "add" and step["bias"] is None and step["head_index"] is None
    found: dict[str, torch.Tensor] = {}

    def steer(module: Any, args: Any, output: Any) -> Any:
        return output + step["steering_vector"] * step["steering_coefficient"]

    def look(module: Any, args: Any, output: Any) -> None:
        found[name] = output

    ids = torch.tensor([[5, 6, 7]])
    for name in ("plain", "steered"):
        handles = [lm.blocks[2].register_forward_hook(look)]
        if name == "steered":
            handles.insert(0, dict(lm.model.base_model.named_modules())[hookpoint].register_forward_hook(steer))
            handles.append(lm.blocks[2].register_forward_hook(look))
        with torch.no_grad():
            lm.model(ids)
        for handle in handles:
            handle.remove()
    moved = found["steered"] - found["plain"]
    torch.testing.assert_close(moved, (3 * load_vectors(fitted).vector(2)).expand_as(moved), rtol=1e-4, atol=1e-4)


def test_a_steered_models_file_comes_back_with_its_coefficient(fitted: Path, tmp_path: Path, lm: LM) -> None:
    export(fitted, "lm-eval", "0,3", tmp_path / "a.pt", multiplier=-0.5)
    found, given = read_foreign([tmp_path / "a.pt"], behavior="agreement", lm=lm), load_vectors(fitted)
    assert list(found.layers) == [0, 3] and found.origin.hookpoint == "layers"
    for layer, vector in found.layers.items():
        torch.testing.assert_close(vector, -0.5 * given.layers[layer])


STEP = {"steering_vector": torch.ones(8), "steering_coefficient": 1.0, "action": "add"}
WRONG_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "clamp": ({"layers.1": {**STEP, "action": "clamp"}}, "does not just add"),
    "head": ({"layers.1": {**STEP, "head_index": 2}}, "does not just add"),
    "place": ({"lm_head": STEP}, "'lm_head' is no block"),
    "nothing": ({}, "are not blocks of one list: none"),
    "two lists": ({"layers.1": STEP, "encoder.2": STEP}, "not blocks of one list"),
    "no vector": ({"layers.1": {"action": "add"}}, "no block with a steering_vector"),
    "shape": ({"layers.1": {**STEP, "steering_vector": torch.ones(2, 8)}}, "[2, 8]"),
}


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_what_does_not_add_a_vector_to_a_block_is_refused(name: str, tmp_path: Path) -> None:
    steps, line = WRONG_STEPS[name]
    torch.save(steps, tmp_path / "a.pt")
    assert line in complaint(lambda: read_foreign([tmp_path / "a.pt"]))


def paper_folder(folder: Path, *layers: int, model: str = "Llama-2-7b-chat-hf") -> Path:
    """As the paper's generate_vectors writes it."""
    folder.mkdir(exist_ok=True)
    for layer in layers:
        torch.save(torch.arange(8.0).half() + layer, folder / f"vec_layer_{layer}_{model}.pt")
    return folder


def test_the_papers_files_are_read(tmp_path: Path) -> None:
    folder = paper_folder(tmp_path / "refusal", 0, 2, 13)
    found = read_foreign([folder])
    assert list(found.layers) == [0, 2, 13] and found.origin.behavior == "refusal"
    assert found.origin.model == "Llama-2-7b-chat-hf"
    assert torch.equal(found.vector(13), torch.arange(8.0) + 13) and found.vector(13).dtype == torch.float32
    one = read_foreign([folder / "vec_layer_2_Llama-2-7b-chat-hf.pt"], behavior="no")
    assert list(one.layers) == [2] and one.origin.behavior == "no"


def test_the_papers_files_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    folder = paper_folder(tmp_path / "refusal", 0, 1)
    paper_folder(folder, 1, 2, model="Llama-2-7b-hf")
    assert "are of two models" in complaint(lambda: read_foreign([folder]))
    chosen = sorted(folder.glob("*_Llama-2-7b-hf.pt"))
    assert list(read_foreign(chosen).layers) == [1, 2]


class Harm:
    """What a pickle can do: writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "harm"))


@pytest.mark.parametrize("name", ["vec_layer_3.pt", "steered.pt"])
def test_a_pickle_that_would_run_code_is_refused_unopened(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        save({"layers.1": Harm(mark)} if name == "steered.pt" else Harm(mark), tmp_path / name)
        assert "could run code" in complaint(lambda: read_foreign([tmp_path / name]))
        assert not mark.exists()
    # The file does what it is said to do: the refusal is not for another reason.
    pickle.loads((tmp_path / name).read_bytes())
    assert mark.read_text() == "harm"


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


WRONG_FILES: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "kind": (lambda place: [place / "v.npy"], "v.npy: there is no such file"),
    "suffix": (lambda place: [_file(place / "v.npy")], "unknown kind of file"),
    "empty folder": (lambda place: [place], "holds no file vec_layer_N_MODEL.pt"),
    "name": (lambda place: [saved(place / "vector.pt", torch.ones(4))], "doesn't say the layer"),
    "no tensor": (lambda place: [saved(place / "vec_layer_1.pt", [1.0, 2.0])], "holds list, not a tensor"),
    "broken": (lambda place: [_file(place / "vec_layer_1.pt")], "no torch file"),
    "cut off": (lambda place: [_cut(place / "vec_layer_1.pt")], "can't be read as a torch file"),
    "shape": (lambda place: [saved(place / "vec_layer_1.pt", torch.ones(4, 2))], "[4, 2]"),
    "twice": (lambda place: _twice(place), "another file is of layer 1 too"),
    "two files": (lambda place: [_file(place / "a.gguf"), _file(place / "b.gguf")], "name one file"),
}


def _file(path: Path) -> Path:
    path.write_bytes(b"nothing")
    return path


def _cut(path: Path) -> Path:
    whole = saved(path, torch.ones(64)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _twice(place: Path) -> list[Path]:
    return [saved(place / name, torch.ones(4)) for name in ("vec_layer_1.pt", "vec_layer_01.pt")]


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_files_are_one_line(name: str, tmp_path: Path) -> None:
    make, line = WRONG_FILES[name]
    paths = make(tmp_path)
    assert line in complaint(lambda: read_foreign(paths))


def test_vectors_for_another_model_are_refused(tmp_path: Path, lm: LM) -> None:
    folder = paper_folder(tmp_path / "refusal", 0)
    assert "width 8 and tiny-llama has 64" in complaint(lambda: read_foreign([folder], lm=lm))
    save_vectors(tmp_path / "a.safetensors", Vectors({9: torch.ones(WIDTH)}))
    assert "layers 0 to 3" in complaint(lambda: read_foreign([tmp_path / "a.safetensors"], lm=lm))


def test_what_cannot_be_expressed_is_not_exported(fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    assert "can't have layer 0" in complaint(lambda: export(fitted, "gguf", "0-2", out))
    assert "has no layer 5: it has 0-3" in complaint(lambda: export(fitted, "gguf", "5", out))
    assert "ends in .pt or .pth" in complaint(lambda: export(fitted, "lm-eval", "1", out))
    assert "other than 0" in complaint(lambda: export(fitted, "gguf", "1", out, multiplier=0.0))
    assert "can't be written" in complaint(lambda: export(fitted, "gguf", "1", Path("/dev/null/a.gguf")))
    assert "can't be written" in complaint(lambda: export(fitted, "lm-eval", "1", Path("/dev/null/a.pt")))
    save_vectors(fitted, Vectors({1: torch.ones(4)}, Origin()))
    assert "--hookpoint" in complaint(lambda: export(fitted, "lm-eval", "1", tmp_path / "a.pt"))
    assert not out.exists() and list(tmp_path.iterdir()) == [fitted]


def test_a_model_tells_its_shape_without_weights(lm: LM) -> None:
    origin = origin_of_shape(lm, Origin(behavior="agreement", kind="paper"))
    assert (origin.behavior, origin.kind, origin.blocks, origin.model_type) == ("agreement", "paper", 4, "llama")
    assert origin.digest is None
