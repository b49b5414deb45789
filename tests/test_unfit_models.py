"""Models that load and are not what they seem: one line and exit code 2 wherever one is loaded, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from comparisons.cli import execute
from comparisons.machine.doctor import advise
from comparisons.model.checks import stored_quantization
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from tests.places import make_place
from tests.tiny import CHAT_TEMPLATE, tiny_lm

COMMANDS = {
    "run": "run --behavior greeting --methods caa --layer 1",
    "sweep": "sweep --behavior greeting --layers 1-2",
    "generate": "generate --behavior greeting --methods caa --layer 1 --prompt hello",
    "trace": "trace --behavior greeting --prompt hello",
    "lens": "lens --behavior greeting",
    "vectors fit": "vectors fit --behavior greeting",
    "replicate": "replicate paper --behavior greeting --layer 1",
    "bench": "bench --quick",
    "doctor": "doctor --measure",
}
WITHOUT_DATA = ("bench", "doctor")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model's, beside the data."""
    make_place(tmp_path)
    lm = tiny_lm()
    lm.model.save_pretrained(tmp_path / "model")
    lm.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a file of JSON."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def adapter(folder: Path) -> None:
    lm = tiny_lm()
    get_peft_model(lm.model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(folder)


def adapter_alone(folder: Path) -> None:
    """With the tokenizer, as trainers save it."""
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).unlink()
    adapter(folder)


def more_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<first>", "<second>"])
    tokenizer.save_pretrained(folder)


def more_turn_tokens(folder: Path) -> None:
    """Special ones, which the chat template writes."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE.replace("[INST]", "<|turn|>")
    tokenizer.save_pretrained(folder)


def fewer_embeddings(folder: Path) -> None:
    lm = tiny_lm()
    lm.model.resize_token_embeddings(380)
    lm.model.save_pretrained(folder)


def unknown_words(folder: Path) -> None:
    rules = Tokenizer(models.WordLevel({word: i for i, word in enumerate(("<unk>", *"()ABInput:"))}, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="<unk>").save_pretrained(folder)
    (folder / "chat_template.jinja").unlink()


def named_templates(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    templates = [{"name": "rag", "template": CHAT_TEMPLATE}, {"name": "tool_use", "template": CHAT_TEMPLATE}]
    edit(folder / "tokenizer_config.json", lambda config: config.update(chat_template=templates))


UNFIT: dict[str, tuple[Callable[[Path], None], str]] = {
    "adapter beside the weights": (adapter, "has an adapter beside its weights (adapter_config.json)"),
    "adapter for a model": (adapter_alone, "is an adapter, no model: name its base model by --model, and use the adap"),
    "more tokens than embeddings": (more_tokens, "has 2 tokens more than the model has embeddings (390), as '<first>'"),
    "special tokens of the template": (more_turn_tokens, "as '<|turn|>': take the tokenizer that belongs to it"),
    "fewer embeddings": (fewer_embeddings, "tokens more than the model has embeddings (380)"),
    "named templates": (named_templates, "chat templates called 'rag', 'tool_use', and none is the default: use --pr"),
}


def refused(command: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The line that answers a command; nothing has been written."""
    before = sorted(folder.parent.rglob("*"))
    data = [] if command in WITHOUT_DATA else ["--data", str(folder.parent / "place")]
    capsys.readouterr()
    assert execute([*COMMANDS[command].split(), "--model", str(folder), *data, *more]) == 2
    said = capsys.readouterr()
    assert said.out.count("\n") <= 12 and said.err.count("\n") == 1, said
    assert sorted(folder.parent.rglob("*")) == before
    return said.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_unfit_is_one_line(
    kind: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    change, line = UNFIT[kind]
    change(folder)
    assert line in refused(command, folder, capsys)


@pytest.mark.parametrize(
    "kind", ["more tokens than embeddings", "special tokens of the template", "fewer embeddings", "unknown words"]
)
def test_the_doctor_knows_a_tokenizer_of_another_model_without_weights(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, line = UNFIT.get(kind, (unknown_words, "tokens of a question in English: take the tokenizer's files that"))
    change(folder)
    capsys.readouterr()
    assert execute(["doctor", "--model", str(folder)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def weights(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def bitsandbytes(bits: int) -> dict[str, Any]:
    return {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True}


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pointer": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "model.safetensors is no more than a pointer of Git LFS: run git lfs pull in its folder.",
    ),
    "no template in UTF-8": (
        lambda folder: (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-16"),
        "chat_template.jinja is damaged or cut off: take it from its source again.",
    ),
    "whole weights that are called 8-bit ones": (
        lambda folder: edit(folder / "config.json", lambda config: config.update(quantization_config=bitsandbytes(8))),
        "are quantized by bitsandbytes, and they aren't, as model.layers.0.self_attn.q_proj: take its quantization_con",
    ),
    "whole weights that are called 4-bit ones": (
        lambda folder: edit(folder / "config.json", lambda config: config.update(quantization_config=bitsandbytes(4))),
        "are quantized by bitsandbytes, and they aren't, as model.layers.0.self_attn.q_proj: take its quantization_con",
    ),
    "no JSON": (
        lambda folder: (folder / "tokenizer_config.json").write_text("{"),
        "tokenizer_config.json is damaged or cut off: take it from its source again.",
    ),
    "other sizes": (
        lambda folder: edit(folder / "config.json", lambda config: config.update(intermediate_size=64)),
        "have other sizes than its config.json says: take all of its files from one source.",
    ),
    "a model that reads in both directions": (
        lambda folder: edit(folder / "config.json", lambda config: config.update(is_causal=False)),
        "reads each token with those behind it, and its next tokens can't be asked for: take another model.",
    ),
    "one weight of a block less": (
        lambda folder: weights(folder, lambda found: {n: each for n, each in found.items() if "1.mlp.up" not in n}),
        "its files lack 1 of its 39 weights, model.layers.1.mlp.up_proj.weight first: take the files that belong to",
    ),
    "no output layer": (
        lambda folder: weights(folder, lambda found: {n: each for n, each in found.items() if "lm_head" not in n}),
        "its files lack 1 of its 39 weights, lm_head.weight first: take the files that belong to its config.json.",
    ),
    "other names": (
        lambda folder: weights(folder, lambda found: {f"module.{name}": each for name, each in found.items()}),
        "its files lack 39 of its 39 weights, lm_head.weight first, and call theirs otherwise, as module.lm_head.weig",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_files_that_are_no_models_are_one_line_with_the_mend(kind: str, folder: Path) -> None:
    if "-bit" in kind:
        pytest.importorskip("bitsandbytes")
    change, line = DAMAGED[kind]
    change(folder)
    with pytest.raises(CompareError) as refused:
        load(ModelSource(str(folder)))
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_weights_of_blocks_without_a_place_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Transformers leaves them out unsaid, and numbers are those of another model."""
    edit(folder / "config.json", lambda config: config.update(num_hidden_layers=2))
    load(ModelSource(str(folder)))
    (line,) = (each.getMessage() for each in caplog.records if each.name.startswith("comparisons"))
    assert "hold 18 weights of blocks that the model of its config.json has no place for, model.layers.2." in line


STORED: dict[str, tuple[dict[str, Any], str]] = {
    "bitsandbytes 8bit": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes 8bit"),
    "bitsandbytes 4bit": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4bit"),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq 4bit"),
    "awq": ({"quant_method": "awq", "bits": 4}, "awq 4bit"),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
    "mxfp4": ({"quant_method": "mxfp4"}, "mxfp4"),
    "compressed": ({"quant_method": "compressed-tensors", "config_groups": {}}, "compressed-tensors"),
    "unnamed": ({"bits": 3}, "by a method that it doesn't name 3bit"),
}


@pytest.mark.parametrize("wanted", ["4bit", "8bit"])
@pytest.mark.parametrize("kind", STORED)
def test_a_quantized_checkpoint_is_not_quantized_again(
    kind: str, wanted: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    stored, name = STORED[kind]
    edit(folder / "config.json", lambda config: config.update(quantization_config=stored))
    line = f"--quantize {wanted} is not for {folder}, whose weights are quantized already ({name}): leave it out."
    for command in COMMANDS if (kind, wanted) == ("gptq", "4bit") else ("run", "doctor"):
        assert line in refused(command, folder, capsys, "--quantize", wanted)


def test_where_configurations_say_that_weights_are_quantized() -> None:
    stored = {"quant_method": "gptq", "bits": 4}
    for config in ({"quantization_config": stored}, {"text_config": {"quantization_config": stored}}):
        assert stored_quantization(config) == "gptq 4bit"
    assert stored_quantization({"compression_config": {"quant_method": "compressed-tensors"}}) == "compressed-tensors"
    assert stored_quantization({"text_config": {}, "quantization_config": None}) is None
    assert stored_quantization(tiny_lm().model.config) is None


def test_the_doctor_advises_no_option_that_would_be_refused(folder: Path) -> None:
    edit(folder / "config.json", lambda c: c.update(quantization_config={"quant_method": "awq", "bits": 4}))
    advice = advise(ModelSource(str(folder)))
    assert advice.shape.stored == "awq 4bit"
    assert {other.quantize for other in advice.others} == {None}


def test_tokens_that_no_prompt_brings_do_no_harm(folder: Path) -> None:
    """As those of images, and of padding, of which tokenizers have more than a text model has embeddings."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(folder)
    assert len(tokenizer) == 392
    lm = load(ModelSource(str(folder)))
    assert lm.embeddings.shape[0] == 390
    question = "What is shown in <image>?\n\nChoices:\n (A) Yes\n (B) No"
    for ask in (lambda: lm.tokenize(lm.prompt(question)), lambda: lm.choice_prompt(question, ("A", "B"))):
        with pytest.raises(CompareError, match=r"a text holds '<image>', for which .* has no embedding"):
            ask()


def test_a_template_called_default_serves_among_others(folder: Path) -> None:
    lm = load(ModelSource(str(folder)))
    expected = lm.prompt("Why?", "Be brief.")
    (folder / "chat_template.jinja").unlink()
    templates = [{"name": "rag", "template": "{{ 'no' }}"}, {"name": "default", "template": CHAT_TEMPLATE}]
    edit(folder / "tokenizer_config.json", lambda config: config.update(chat_template=templates))
    assert load(ModelSource(str(folder))).prompt("Why?", "Be brief.") == expected
    named_templates_again = [{"name": "rag", "template": CHAT_TEMPLATE}]
    edit(folder / "tokenizer_config.json", lambda config: config.update(chat_template=named_templates_again))
    with pytest.raises(CompareError, match="none is the default"):
        load(ModelSource(str(folder)))
    assert load(ModelSource(str(folder), prompt_format="base")).prompt("Why?") == "Input: Why?\nResponse:"
