"""Fitted artifacts by content: a folder whose name hashes everything that can change what is in it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.errors import CompareError
from comparisons.files import file_digest, json_digest, read_json, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A fitted folder.

    Attributes:
        path: the folder.
        key: its content hash.
        seconds: how long the fit took, when it was made.
        reused: whether it was there already.
    """

    path: Path
    key: str
    seconds: float
    reused: bool


class Store:
    """Artifacts under one folder, each fitted once, also by several processes at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, parts: Mapping[str, Any], fit: Callable[[Path], None]) -> Artifact:
        """The artifact with this key, fitted now if it isn't there or is damaged.

        Args:
            kind: a readable first part of the folder's name.
            parts: everything that can change the result, as JSON values.
            fit: writes into an empty folder.
        """
        from filelock import FileLock

        key = json_digest(parts)
        folder = self.root / f"{kind}-{key[:16]}"
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{folder.name}.lock"):
            seconds = _verified(folder, key)
            if seconds is not None:
                return Artifact(folder, key, seconds, reused=True)
            shutil.rmtree(folder, ignore_errors=True)
            return Artifact(folder, key, self._fit(folder, key, parts, fit), reused=False)

    def _fit(self, folder: Path, key: str, parts: Mapping[str, Any], fit: Callable[[Path], None]) -> float:
        started = time.perf_counter()
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=self.root))
        try:
            fit(beside)
            seconds = time.perf_counter() - started
            files = {str(p.relative_to(beside)): file_digest(p) for p in sorted(beside.rglob("*")) if p.is_file()}
            write_json(beside / MANIFEST, {"key": key, "parts": parts, "fit_seconds": seconds, "files": files})
            os.chmod(beside, 0o755)
            os.replace(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return seconds


def _verified(folder: Path, key: str) -> float | None:
    """The fit's seconds where the folder is whole and unchanged, else None."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_json(folder / MANIFEST, "artifact")
        whole = manifest["key"] == key and all(
            file_digest(folder / name) == digest for name, digest in manifest["files"].items()
        )
        return float(manifest["fit_seconds"]) if whole else None
    except (CompareError, OSError, KeyError, TypeError, ValueError):
        return None
