"""A real server of chat completions and embeddings: `transformers serve` on the embedded model."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from comparisons.util.files import embedded

MODEL = str(embedded("pocket"))


@dataclass
class Real:
    """A running server.

    Attributes:
        url: what clients take.
        embedded: the texts whose embeddings it was asked for.
    """

    url: str
    embedded: list[str] = field(default_factory=list)


@contextmanager
def real_server() -> Iterator[Real]:
    """The server, until the block ends; skips where transformers lacks what it serves with.

    `transformers serve` has no embeddings; the route is added to its own application, and takes the mean of the middle
    block's hidden states as the library itself gives them.
    """
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("transformers serve needs fastapi and uvicorn: pip install transformers[serving]")
    import transformers.cli.serving.server as parts
    from transformers.cli.serve import Serve

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    real, build = Real(f"http://127.0.0.1:{port}/v1"), parts.build_server

    def with_embeddings(*args: Any, **kwargs: Any) -> Any:
        app = build(*args, **kwargs)
        app.post("/v1/embeddings")(_route(real))
        return app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "build_server", with_embeddings)
        serve = Serve(force_model=MODEL, host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    try:
        deadline = time.monotonic() + 60
        while not serve.server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield real
    finally:
        serve.kill_server()


def _route(real: Real) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)

    def embeddings(body: dict[str, Any]) -> dict[str, Any]:
        real.embedded.append(body["input"])
        ids = tokenizer(body["input"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            # hidden_states[0] is the embedding: block L puts out hidden_states[L + 1].
            states = model(ids, output_hidden_states=True).hidden_states[model.config.num_hidden_layers // 2 + 1]
        vector = states[0].mean(dim=0).tolist()
        usage = {"prompt_tokens": ids.shape[1], "total_tokens": ids.shape[1]}
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        return {"object": "list", "model": body["model"], "data": data, "usage": usage}

    return embeddings
