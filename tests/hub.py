"""A stand-in for the Hugging Face hub on loopback: repositories made, committed to and read, as its clients do it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """Keeps repositories in memory.

    Attributes:
        token: what a client must send to write.
        repositories: name -> path -> content.
        private: the names that were made private.
    """

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, name: str) -> str:
        """A hash of what the repository holds, as a commit has one."""
        total = hashlib.sha1()
        for path, data in sorted(self.repositories[name].items()):
            total.update(path.encode() + b"\0" + data)
        return total.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._json(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.repositories.setdefault(name, {})
            self.hub.private |= (
                {name} if "private" in (asked.get("visibility"), asked.get("private") and "private") else set()
            )
            return self._json(200, {"url": f"{self.hub.url}/{name}", "name": name})
        if self.path == "/api/validate-yaml":
            return self._json(200, {"errors": [], "warnings": []})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path.partition("?")[0])
        if found is None:
            return self._json(404, {"error": "unknown"})
        name, what = found.groups()
        if what == "preupload":
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]]
            return self._json(200, {"files": [{**each, "shouldIgnore": False, "oid": None} for each in files]})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.hub.repositories[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        oid = self.hub.commit(name)
        return self._json(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/revision/[^/]+|/tree/[^/]+.*)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        name = (info or file)[1] if info or file else ""  # type: ignore[index]
        if name not in self.hub.repositories:
            return self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        files, commit = self.hub.repositories[name], self.hub.commit(name)
        if info is not None and (info[2] or "").startswith("/tree/"):
            listed = [{"type": "file", "path": p, "size": len(d), "oid": _etag(d)} for p, d in files.items()]
            return self._json(200, listed)
        if info is not None:
            siblings = [{"rfilename": path} for path in files]
            return self._json(200, {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []})
        assert file is not None
        if file[2] not in files:
            return self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data = files[file[2]]
        return self._send(200, data, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": commit})

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def hub(token: str) -> Iterator[Hub]:
    """The server, until the block ends."""
    server = Hub(token)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
