"""Vectors as files: fitted like plain code, scaled, read back, and every wrong file one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from comparisons.engine.activations import contrast_means
from comparisons.method.vectors import Reading, where_read
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from comparisons.vectors import Origin, Vectors, load_vectors, save_vectors
from comparisons.vectors.contrast import load_contrast
from comparisons.vectors.diagnose import diagnose
from comparisons.vectors.fit import fit_files, fit_vectors, origin_of_shape
from comparisons.vectors.similarity import normalized, targets
from tests import oracle
from tests.places import complaint
from tests.tiny import FAMILIES, WIDTH, tiny_behavior, tiny_lm


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm()


def made(*layers: int, width: int = 8, seed: int = 0, **origin: object) -> Vectors:
    generator = torch.Generator().manual_seed(seed)
    drawn = {layer: torch.randn(width, generator=generator) for layer in layers or (0, 1, 2)}
    return Vectors(drawn, Origin(**origin))  # type: ignore[arg-type]


def plain(lm: LM, n: int) -> torch.Tensor:
    """[pairs, 2, layers, width] by one plain pass an answer."""
    found = []
    for item in tiny_behavior(n).train:
        for letter in (item.matching, item.contrast):
            ids, _, index = oracle.prompt_ids(lm.tokenizer, item.question, letter)
            found.append(oracle.activations(lm.model, lm.blocks, ids[: index + 1], index))
    return torch.stack(found).reshape(n, 2, len(lm.blocks), lm.width)


@pytest.mark.parametrize("keep", [False, True])
def test_the_vectors_are_mean_differences_of_plain_passes(lm: LM, keep: bool) -> None:
    vectors, contrast = fit_vectors(lm, tiny_behavior(6), [1, 3], keep)
    expected = plain(lm, 6)
    assert list(vectors.layers) == [1, 3] and vectors.origin.pairs == 6
    for layer, vector in vectors.layers.items():
        mean = (expected[:, 0] - expected[:, 1]).mean(dim=0)[layer]
        torch.testing.assert_close(vector, mean, rtol=1e-4, atol=1e-5)
    assert (contrast is not None) == keep
    if contrast is not None:
        torch.testing.assert_close(contrast.activations, expected[:, :, [1, 3]], rtol=1e-4, atol=1e-5)
        assert [pair.matching for pair in contrast.pairs] == [item.matching for item in tiny_behavior(6).train]
        assert [pair.id for pair in contrast.pairs] == [f"train/{n}" for n in range(6)]


def test_the_file_says_where_the_vectors_are_from(lm: LM, tmp_path: Path) -> None:
    behavior = tiny_behavior(6)
    (fitted,) = fit_files(lm, [behavior], [None], tmp_path, save_activations=True)
    with safe_open(fitted.path, framework="pt") as file:
        texts = file.metadata()
        assert sorted(file.keys()) == [f"layer_{layer}" for layer in range(4)]
    assert texts["format_version"] == "1" and texts["kind"] == "mean-difference" and texts["model"] == lm.name
    assert texts["digest"] == lm.digest and texts["data_hash"] == behavior.digest and texts["prompt_format"] == "chat"
    assert texts["blocks"] == "4" and texts["width"] == str(WIDTH) and texts["behavior"] == "agreement"
    norms = json.loads(texts["norms"])
    again = load_vectors(fitted.path)
    assert again.origin == fitted.vectors.origin
    for layer, vector in again.layers.items():
        assert torch.equal(vector, fitted.vectors.layers[layer])
        assert norms[str(layer)] == pytest.approx(float(vector.norm()), abs=1e-5)
    assert fitted.activations is not None
    contrast = load_contrast(fitted.activations)
    difference = (contrast.activations[:, 0] - contrast.activations[:, 1]).mean(dim=0)
    torch.testing.assert_close(difference, torch.stack(list(again.layers.values())), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("read", ["answer", "prompt_end"])
def test_the_file_says_where_the_pairs_were_read(lm: LM, tmp_path: Path, read: Reading) -> None:
    behavior = tiny_behavior(6)
    (fitted,) = fit_files(lm, [behavior], [None], tmp_path, save_activations=True, read=read)
    assert fitted.activations is not None
    vectors, contrast = load_vectors(fitted.path), load_contrast(fitted.activations)
    assert (vectors.origin.read, contrast.origin.read) == (read, read)
    expected = contrast_means(lm, behavior.train, read=where_read(read, "letters", behavior)).matching.float()
    torch.testing.assert_close(torch.stack(list(vectors.layers.values())), expected)
    assert {pair.matching for pair in contrast.pairs} == {""}  # no letter was read, so that nothing follows one
    assert diagnose(contrast, [None]).layers[0].by_letter == {}
    letters, _ = fit_vectors(lm, behavior, range(4))
    assert letters.origin.read == "letter"
    with pytest.raises(CompareError, match=f"not alike: read {read} and letter"):
        normalized({"a": vectors, "b": letters})
    with pytest.raises(CompareError, match="has no system prompts"):
        fit_vectors(lm, replace(behavior, prompts=None), range(4), read="prompt_end")


def test_items_without_letters_are_read_over_their_answers(lm: LM) -> None:
    behavior = tiny_behavior(6)
    bare = replace(behavior, train=tuple(replace(item, own_letters=False) for item in behavior.train))
    assert fit_vectors(lm, bare, [1])[0].origin.read == "answer"


def test_a_base_model_is_read_without_a_template() -> None:
    vectors, _ = fit_vectors(tiny_lm(chat=False), tiny_behavior(4), [2])
    assert vectors.origin.prompt_format == "base" and float(vectors.vector(2).norm()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_hookpoint_names_the_blocks_inside_the_base_model(family: str) -> None:
    found = tiny_lm(family)
    assert dict(found.model.base_model.named_modules())[f"{origin_of_shape(found).hookpoint}.2"] is found.blocks[2]


def test_normalizing_gives_every_behavior_the_mean_norm_of_its_layer() -> None:
    given = {name: made(seed=seed, behavior=name) for seed, name in enumerate("abc")}
    found = normalized(given)
    for layer in (0, 1, 2):
        mean = sum(float(v.layers[layer].norm()) for v in given.values()) / 3
        for name, vectors in found.items():
            assert vectors.norms[layer] == pytest.approx(mean, rel=1e-6)
            cosine = torch.cosine_similarity(vectors.layers[layer], given[name].layers[layer], dim=0)
            assert float(cosine) == pytest.approx(1, abs=1e-6)
    assert found["a"].origin.normalized == "a,b,c"


MIXTURES: dict[str, tuple[Vectors, str]] = {
    "width": (made(width=4), "not alike: width 8 and 4"),
    "layers": (made(0, 1), "not alike: layers 0-2 and 0-1"),
    "model": (made(model="other", digest="f" * 64), "not alike: model"),
    "zero": (replace(made(), layers={layer: torch.zeros(8) for layer in range(3)}), "b: the vector of layer 0 is zero"),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_vectors_that_do_not_go_together_are_not_normalized(name: str) -> None:
    other, line = MIXTURES[name]
    one = made(model="one", digest="e" * 64) if name == "model" else made()
    assert line in complaint(lambda: normalized({"a": one, "b": other}))


def test_normalized_files_never_overwrite_what_they_are_made_of(tmp_path: Path) -> None:
    one, other = tmp_path / "a.safetensors", tmp_path / "deep/a.safetensors"
    assert targets([one], None) == [tmp_path / "normalized/a.safetensors"]
    assert "written over" in complaint(lambda: targets([one], tmp_path))
    assert "two files are called a.safetensors" in complaint(lambda: targets([one, other], None))
    assert "two or more" in complaint(lambda: normalized({"a": made()}))


def written(path: Path, tensors: dict[str, torch.Tensor], **texts: str) -> Path:
    save_file(tensors, path, texts)
    return path


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "there is no such file"),
    "not safetensors": (lambda path: path.write_bytes(b"nothing like it"), "can't be read as safetensors"),
    "cut off": (lambda path: path.write_bytes(_whole(path)[:-10]), "can't be read as safetensors"),
    "no tensors": (lambda path: path.write_bytes(b"\x13" + bytes(7) + b'{"__metadata__":{}}'), "holds no tensors"),
    "other tensors": (lambda path: written(path, {"weight": torch.ones(4)}), "holds a tensor 'weight'"),
    "shape": (lambda path: written(path, {"layer_0": torch.ones(4, 2)}), "layer 0 is [4, 2] float32"),
    "integers": (lambda path: written(path, {"layer_0": torch.ones(4, dtype=torch.int64)}), "int64"),
    "widths": (lambda path: written(path, {"layer_0": torch.ones(4), "layer_1": torch.ones(5)}), "another layer 4"),
    "nan": (lambda path: written(path, {"layer_0": torch.tensor([1.0, float("nan")])}), "NaN or infinity"),
    "format": (lambda path: written(path, {"layer_0": torch.ones(4)}, format_version="9"), "has format 9"),
    "number": (lambda path: written(path, {"layer_0": torch.ones(4)}, blocks="many"), "blocks=many"),
    "blocks": (lambda path: written(path, {"layer_3": torch.ones(4)}, blocks="3"), "its model has 3 blocks"),
    "activations": (lambda path: written(path, {"activations": torch.ones(4)}), "contrast activations, not vectors"),
}


def _whole(path: Path) -> bytes:
    return written(path, {"layer_0": torch.ones(4)}).read_bytes()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_line(name: str, tmp_path: Path) -> None:
    write, line = WRONG[name]
    path = tmp_path / "wrong.safetensors"
    write(path)
    message = complaint(lambda: load_vectors(path))
    assert line in message and str(path) in message


def test_vectors_that_others_wrote_need_no_metadata(tmp_path: Path) -> None:
    found = load_vectors(written(tmp_path / "a.safetensors", {"layer_12": torch.ones(4).bfloat16()}, format="pt"))
    assert found.layers.keys() == {12} and found.layers[12].dtype == torch.float32 and found.origin == Origin()


def test_another_models_vectors_are_refused(lm: LM) -> None:
    assert "width 8 and tiny-llama has 64" in complaint(lambda: made().check_model(lm, "a"))
    assert "layers 0 to 3" in complaint(lambda: made(7, width=WIDTH).check_model(lm, "a"))
    assert "no vector of layer 5: there are layers 0-2" in complaint(lambda: made().vector(5))
    assert made(3, width=WIDTH).check_model(lm, "a").width == WIDTH


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(CompareError, match="can't be written"):
        save_vectors(Path("/dev/null/a.safetensors"), made())


def test_activations_that_are_none_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_vectors(path, made())
    assert "--save-activations" in complaint(lambda: load_contrast(path))
    texts = {"layers": "[0]", "items": '[{"id": "a", "matching": "A", "contrast": "B"}]'}
    written(path, {"activations": torch.ones(2, 2, 1, 4)}, **texts)
    assert "[2, 2, 1, 4]" in complaint(lambda: load_contrast(path))
    written(path, {"activations": torch.ones(1, 2, 1, 4)}, **{**texts, "items": "[{}]"})
    assert "metadata can't be read" in complaint(lambda: load_contrast(path))
