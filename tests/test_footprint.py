"""What a model takes in memory: counts against models that are built, bytes against processes that are watched."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from comparisons.cli import execute
from comparisons.machine.doctor import NOWHERE, advise
from comparisons.machine.memory import Machine, footprint
from comparisons.machine.shape import count, measure, read_shape
from comparisons.model.source import ModelSource
from tests.forks import Command, Forks
from tests.places import complaint
from tests.tiny import FAMILIES, SPECIAL, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
LLAMA2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32_000,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
}


@pytest.mark.parametrize("change", [{}, {"tie_word_embeddings": True}, {"attention_bias": True, "mlp_bias": True}])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_is_counted_as_it_is_built(family: str, change: dict[str, Any], tmp_path: Path) -> None:
    kind, sizes = FAMILIES[family]
    config = getattr(transformers, kind)(vocab_size=400, **SPECIAL, **sizes, **change)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    config.save_pretrained(tmp_path)
    counted = count(json.loads((tmp_path / "config.json").read_text()))
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert counted == measure(model, None, "float32")


def test_published_models_have_their_number_of_parameters() -> None:
    llama3_70b = {**LLAMA2_7B, "hidden_size": 8192, "intermediate_size": 28_672, "num_hidden_layers": 80}
    llama3_70b |= {"num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128_256}
    assert count(LLAMA2_7B).parameters == 6_738_415_616
    assert count(llama3_70b).parameters == 70_553_706_496


def written(folder: Path, config: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def test_what_is_no_known_family_is_built_without_weights(tmp_path: Path) -> None:
    config = transformers.StableLmConfig(
        vocab_size=400, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4
    )
    config.save_pretrained(tmp_path)
    shape = read_shape(ModelSource(str(tmp_path)))
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (shape.blocks, shape.width, len(shape.linears)) == (3, 64, 7)


def test_a_7b_takes_what_is_known_of_it() -> None:
    shape = count(LLAMA2_7B)
    plain, four = footprint(shape, "cuda"), footprint(shape, "cuda", quantize="4bit")
    assert (plain.dtype, plain.weights) == ("float16", 2 * shape.parameters)
    assert 3.5e9 < four.weights < 4.3e9
    assert four.training < 24e9 < plain.training  # QLoRA on a card of 24 GB, LoRA in 16 bits not
    assert plain.training_full is not None and plain.training_full > 16 * shape.matrices
    assert four.training_full is None
    assert footprint(shape, "cpu").dtype == "float32"
    assert list(plain.phases()) == ["loading", "sweeping", "training", "training_full"]


def test_a_quantized_model_weighs_what_is_counted() -> None:
    lm = tiny_lm()
    shape = measure(lm.model, None, "float32")
    from bitsandbytes.nn import Linear4bit

    modules = [Linear4bit(*sides, bias=False, compress_statistics=False).to("cpu") for sides in shape.linears]
    four = sum(module.weight.nbytes + module.weight.quant_state.absmax.nbytes for module in modules)
    rest = 4 * (shape.parameters - shape.matrices)
    assert footprint(shape, "cpu", quantize="4bit").weights == rest + shape.blocks * four


def machine(ram: float, *gpus: float) -> Machine:
    return Machine(int(ram * 1e9), tuple(int(size * 1e9) for size in gpus))


@pytest.mark.parametrize(
    ("source", "machine", "loading", "training"),
    [
        ({}, machine(64, 80), "fits", "fits"),
        ({}, machine(64, 24), "fits", "fits with --quantize 8bit"),
        ({}, machine(64, 9), "fits with --quantize 8bit", "fits with --quantize 4bit"),
        ({}, machine(64, 8, 8), "fits", "fits with --quantize 8bit"),
        ({}, machine(16), "fits with --dtype bfloat16", NOWHERE),
        ({}, machine(1), NOWHERE, NOWHERE),
        ({"device": "cpu"}, machine(50, 80), "fits", "fits with --dtype bfloat16"),
        ({"quantize": "4bit"}, machine(64, 24), "fits", "fits"),
    ],
)
def test_what_fits_is_said_with_the_option_that_makes_it_fit(
    source: dict[str, Any], machine: Machine, loading: str, training: str, tmp_path: Path
) -> None:
    found = advise(ModelSource(written(tmp_path, LLAMA2_7B), **source), machine=machine)
    assert found.verdicts()["loading"] == loading
    assert found.verdicts()["training"] == training


def seconds_of_children() -> float:
    """On the CPU, of processes that have ended: other tests' work doesn't count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_command_answers_within_two_seconds_of_any_size(tmp_path: Path) -> None:
    mixtral = {**LLAMA2_7B, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    for config in (LLAMA2_7B, mixtral):
        command = [sys.executable, "-m", "comparisons", "doctor", "--model", written(tmp_path, config), "--json"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        started = seconds_of_children()
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert seconds_of_children() - started < 2
        assert json.loads(ended.stdout)["parameters"] == count(config).parameters


def test_the_table_and_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["doctor", "--model", "pocket"]) == 0
    shown = capsys.readouterr().out
    assert "1,182,208 parameters" in shown and "float32 (as asked)" in shown and "training: fits" in shown
    huge = {**LLAMA2_7B, "num_hidden_layers": 100_000}
    assert execute(["doctor", "--model", written(tmp_path, huge)]) == 1
    assert f"loading: {NOWHERE}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "./nowhere"], "no model './nowhere'"),
        (["--model", "pocket", "--artifacts"], "--model is a question of its own"),
        (["--quantize", "4bit"], "--quantize goes with --model"),
        (["--json"], "--json goes with --model"),
        (["--measure"], "--measure goes with --model"),
        (["--model", "pocket", "--method", "sft"], "--method goes with --measure"),
        (["--model", "pocket", "--measure", "--method", "sfft"], "Did you mean sft"),
        (
            ["--model", "pocket", "--measure", "--tokens", "9"],
            "takes 27 tokens or more, not 9: give it more by --tokens",
        ),
        (["--model", "pocket", "--device", "mps"], "ask with --device cpu"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["doctor", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_configuration_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1, 2]")
    assert "is no JSON object" in complaint(lambda: read_shape(ModelSource(str(tmp_path))))
    (tmp_path / "config.json").write_text("{")
    assert "can't read the configuration" in complaint(lambda: read_shape(ModelSource(str(tmp_path))))
    written(tmp_path, {"model_type": "never-heard-of"})
    assert "can't load the model" in complaint(lambda: read_shape(ModelSource(str(tmp_path))))


def test_nothing_but_the_configuration_is_fetched_from_the_hub(tmp_path: Path) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(LLAMA2_7B).encode()
            asked.append(self.path)
            self.send_response(200 if self.path.endswith("/config.json") else 404)
            for name, value in (("ETag", '"1"'), ("X-Repo-Commit", "c" * 40), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Stays quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
    env |= {"HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "comparisons", "doctor", "--model", "org/model", "--json"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    server.shutdown()
    assert json.loads(ended.stdout)["parameters"] == 6_738_415_616, ended.stderr
    # The hub's library asks for something of its own, which is no file of the model.
    assert {path.rpartition("/")[2] for path in asked if "/org/model/" in path} == {"config.json"}
    assert not any("/api/models/" in path for path in asked)


def test_what_was_measured_stands_beside_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--tokens", "40", "--prompts", "2", "--batch", "2"]
    assert execute(["doctor", "--model", "pocket", "--measure", "--method", "caa", *asked]) == 0
    shown = capsys.readouterr().out.split("measured", 1)[1]
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("│")] == [
        "loading",
        "sweeping",
        "training",
    ]
    assert "prompts/s" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is read from /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_estimate_is_within_15_percent_of_what_is_measured(dtype: str, near: Forks, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=50_000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=4,
        num_attention_heads=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    # Zeros are resident like other weights once they come from a file, and take no time to draw.
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
    model.save_pretrained(tmp_path)
    tiny_tokenizer(chat=False).save_pretrained(tmp_path)
    command = ["doctor", "--model", str(tmp_path), "--dtype", dtype]
    command += ["--tokens", "48", "--prompts", "1", "--batch", "1", "--measure", "--method", "sft", "--json"]
    (ended,) = near.run(Command(command, str(tmp_path)))
    assert ended.code == 0, ended.said
    found = json.loads(ended.printed)
    assert 150e6 < found["parameters"] < 300e6
    for row in found["measured"]:
        expected = found["footprints"][0][row["phase"]]
        assert row["peak_bytes"] == pytest.approx(expected, rel=0.15), (row, expected)
        assert row["seconds"] > 0 and (row["rate"] is None) == (row["phase"] == "loading")
    assert [row["phase"] for row in found["measured"]] == ["loading", "sweeping", "training"]
