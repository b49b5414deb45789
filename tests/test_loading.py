"""Models by name: what the hub's refusals and a missing network come to, from a real server on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import transformers

from comparisons.machine.doctor import measure
from comparisons.machine.memory import Load
from comparisons.model.explaining import explained
from comparisons.model.loading import load, load_without_weights
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from tests.hub import hub as stand_in
from tests.tiny import SHAPE, SPECIAL, tiny_lm, tiny_tokenizer


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for a gated, a misspelt and a failing repository."""

    def do_HEAD(self) -> None:
        """Refuses."""
        codes = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound"), "broken": (500, "")}
        status, code = next(found for name, found in codes.items() if f"/{name}/" in self.path)
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, format: str, *args: object) -> None:
        """Stays quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


CODE = """
import json, sys
from comparisons.util.errors import CompareError
from comparisons.model.source import ModelSource
from comparisons.model.loading import load
found = {}
for name in sys.argv[1:]:
    try:
        load(ModelSource(name))
    except CompareError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def complaints(endpoint: str, home: Path, *names: str) -> dict[str, str]:
    """What loading each name from a hub comes to, in a process of its own."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_planted"}
    env["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    ended = subprocess.run([sys.executable, "-c", CODE, *names], env=env, capture_output=True, text=True, check=True)
    assert "hf_planted" not in ended.stdout + ended.stderr
    found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_what_the_hub_refuses_is_one_line_with_the_mend(hub: str, tmp_path: Path) -> None:
    found = complaints(hub, tmp_path, "gated/model", "missing/model")
    assert "is gated: ask for access" in found["gated/model"] and "HF_TOKEN" in found["gated/model"]
    assert "the hub knows no model missing/model: check the spelling" in found["missing/model"]


def test_an_adapter_on_the_hub_is_no_model(tmp_path: Path) -> None:
    """Beside weights too: transformers takes the base model that the adapter names in their place."""
    alone = {"adapter_config.json": b'{"base_model_name_or_path": "me/base", "peft_type": "LORA"}'}
    with stand_in("hf_planted") as server:
        server.repositories |= {"me/adapter": alone, "me/both": {**alone, "config.json": b"{}"}}
        found = complaints(server.url, tmp_path, "me/adapter", "me/both")
    for name in ("me/adapter", "me/both"):
        assert f"{name} holds an adapter on the hub" in found[name]
        assert f"--set sft.adapter_from=hub:{name}" in found[name]


def test_no_network_is_one_line_with_the_mend(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = complaints(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path, "org/model")
    assert "can't reach the hub for org/model" in found["org/model"] and "local folder" in found["org/model"]


def test_a_folder_loads_in_float32_on_a_cpu_and_its_shape_without_weights(tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.model.to(torch.float16).save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    loaded = load(ModelSource(str(tmp_path), device="cpu"))
    assert loaded.model.dtype == torch.float32
    assert loaded.prompt_format == "chat"
    assert loaded.digest == load(ModelSource(str(tmp_path), device="cpu")).digest
    assert loaded.digest != load(ModelSource(str(tmp_path), device="cpu", prompt_format="base")).digest
    shape = load_without_weights(ModelSource(str(tmp_path)))
    assert (shape.parameters, len(shape.blocks)) == (loaded.parameters, len(loaded.blocks))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CompareError, match="no cuda device: use --device auto"):
        load(ModelSource(str(tmp_path), device="cuda"))
    with pytest.raises(CompareError, match="no cuda device: use --device auto"):
        measure(ModelSource(str(tmp_path), device="cuda"), "cuda", Load(), None)


def test_a_type_that_transformers_does_not_know_is_named_with_the_mend(tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "llama9"}))
    for read in (load, load_without_weights):
        with pytest.raises(CompareError, match=r"transformers \S+ knows no models of type llama9: update"):
            read(ModelSource(str(tmp_path)))


def test_what_a_loader_says_is_cut_between_words() -> None:
    line = str(explained("me/model", ValueError("an unforeseen fault " * 30)))
    assert line.endswith((" an unforeseen …", " unforeseen fault …", " fault an …")) and len(line) < 340


def test_a_folder_of_models_names_the_first(tmp_path: Path) -> None:
    """As trainers write it: checkpoints, or adapters, a folder each."""
    for name, file in (("checkpoint-20", "config.json"), ("checkpoint-10", "adapter_config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    with pytest.raises(CompareError, match=r"has no config.json: name one of the folders in it, as .*/checkpoint-10\."):
        load(ModelSource(str(tmp_path)))


def test_a_model_whose_blocks_run_in_loops_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "dory" not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no such family")
    config = transformers.AutoConfig.for_model("dory", **{**SHAPE, **SPECIAL, "vocab_size": len(tiny_tokenizer())})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    load(ModelSource(str(tmp_path)))
    said = f"{tmp_path} runs some of its blocks 2 times a pass: what is added to one of them is added each time."
    assert said in caplog.messages
