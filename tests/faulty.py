"""A server of chat completions and embeddings on loopback that fails as servers do, and counts what it answers."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "dropped", "stalled", "cut")
"""Markers in a text: its first request meets this fault, the next is answered."""

WIDTH = 32
"""Of embeddings."""

CONTENTS = {"nojson": "I'd say seven.", "eleven": json.dumps({"reason": "more than all", "score": 11})}
"""Markers of replies that are no verdict."""


class Faulty(ThreadingHTTPServer):
    """Answers with a score of 8 (6 for coherence, 3 for politeness), or with letters as an embedding, if unmarked.

    Attributes:
        seen: how often each request's text came.
        sizes: bytes of each text's last request.
        paid: how often it was answered.
        delay: seconds before an answer.
        times: when each text came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen, self.paid = Counter[str](), Counter[str]()
        self.times: dict[str, list[float]] = {}
        self.sizes: dict[str, int] = {}
        self.delay, self.lock = 0.0, threading.Lock()

    @property
    def url(self) -> str:
        """The base URL that clients take."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Faulty)
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        chat = self.path.endswith("/chat/completions")
        text = body["messages"][0]["content"] if chat else body["input"]
        with server.lock:
            first = not server.seen[text]
            server.seen[text] += 1
            server.sizes[text] = size
            server.times.setdefault(text, []).append(time.monotonic())
        fault = next((f for f in FAULTS if f"[{f}]" in text), None) if first else None
        if "[down]" in text:
            self._reply(500, {"error": {"message": "down"}})
        elif fault == "dropped":
            self.connection.close()
        elif fault == "stalled":
            time.sleep(1.5)
        elif fault == "cut":
            self._reply(200, _embedding(text), {"Content-Length": "9999"})
            self.close_connection = True
        elif fault is not None:
            self._reply(int(fault), {"error": {"message": "later"}}, {"Retry-After": "1"} if fault == "429" else {})
        elif "[unauthorized]" in text:
            self._reply(401, {"error": {"message": f"wrong key {self.headers['Authorization']}"}})
        else:
            time.sleep(server.delay)
            with server.lock:
                server.paid[text] += 1
            self._reply(200, _completion(text, self.headers["Authorization"]) if chat else _embedding(text))

    def _reply(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, each in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(each))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _embedding(text: str) -> Any:
    """How often each letter of the alphabet stands in a text; without a vector, or not what clients expect, if told."""
    if "[nojson]" in text:
        return "I'd say seven."
    vector = [float(text.lower().count(chr(97 + place))) for place in range(WIDTH)]
    data = [] if "[empty]" in text else [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    return {"object": "list", "model": "embedder", "data": data, "usage": usage}


def _completion(text: str, authorization: str) -> dict[str, Any]:
    score = 6 if "coherent" in text.split("Rubric")[0] else 3 if "polite" in text else 8
    verdict = {"reason": f"as told by {authorization}", "score": score}
    if "<answer_1>" in text:
        verdict = {
            "reason": "the longer",
            "winner": "answer_1" if "[long]" in text.split("</answer_1>")[0] else "answer_2",
        }
    content = next((reply for marker, reply in CONTENTS.items() if f"[{marker}]" in text), json.dumps(verdict))
    refused = "[refuses]" in text
    message = {
        "role": "assistant",
        "content": None if refused else content,
        "refusal": "I can't judge this." if refused else None,
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


@contextmanager
def serving() -> Iterator[Faulty]:
    """The server, until the block ends."""
    server = Faulty()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
