"""Fitted artifacts by content: a folder whose name hashes everything that can change what is in it."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.util.errors import CompareError, StorageError, refusal, storage_fault
from comparisons.util.files import file_digest, json_digest, read_sealed, write_sealed

CHECKPOINTS = Path("checkpoints")
"""Where the program keeps what it makes once, seen from where it is started."""

MANIFEST = "manifest.json"
MAKING = ".making"
"""Ends the hidden name of the folder in which an artifact is made."""
SPENT = "spent.json"
"""In a scratch folder: the "seconds" that interrupted fits spent on what this one went on from."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A fitted folder.

    Attributes:
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
            fit: writes into an empty folder; what it leaves in `scratch_of` that folder outlives a kill.

        Raises:
            StorageError: the store's folder can't be written.
        """
        key, folder = self._place(kind, parts)
        with self._locked(folder):
            seconds = _seconds(folder, key)
            if seconds is not None:
                return Artifact(folder, key, seconds, reused=True)
            return Artifact(folder, key, self._fit(folder, key, parts, fit), reused=False)

    def find(self, kind: str, parts: Mapping[str, Any]) -> Artifact | None:
        """The artifact with this key, None where it isn't there or is damaged; see `get`."""
        key, folder = self._place(kind, parts)
        seconds = _seconds(folder, key)
        return None if seconds is None else Artifact(folder, key, seconds, reused=True)

    def _place(self, kind: str, parts: Mapping[str, Any]) -> tuple[str, Path]:
        key = json_digest(parts)
        return key, self.root / f"{kind}-{key[:16]}"

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Waits until no other process makes this artifact."""
        from filelock import FileLock

        lock = FileLock(lock_of(folder))
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def _fit(self, folder: Path, key: str, parts: Mapping[str, Any], fit: Callable[[Path], None]) -> float:
        """Makes the artifact beside its place and moves it there.

        What an interrupted fit left in its scratch folder is kept for the next one with the same key, which alone
        finds it; what a failed one left is removed.
        """
        beside, started = folder.with_name(f".{folder.name}{MAKING}"), time.perf_counter()
        out = beside / "out"
        try:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            scratch_of(out).mkdir(exist_ok=True)
            fit(out)
            seconds, spent = time.perf_counter() - started, scratch_of(out) / SPENT
            seconds += float(read_sealed(spent, "fit")["seconds"]) if spent.exists() else 0.0
            seal(out, key=key, parts=parts, fit_seconds=seconds)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(out, folder)
        except Exception as error:
            refused = storage_fault(error)
            if isinstance(error, OSError) and not out.is_dir():
                refused = _unwritable(folder, error)
            if refused is None:
                shutil.rmtree(beside, ignore_errors=True)
                raise
            # The next attempt begins anew but for its scratch folder: what is half made must not hold the room.
            shutil.rmtree(out, ignore_errors=True)
            raise refused from error
        shutil.rmtree(beside, ignore_errors=True)
        return seconds


def lock_of(folder: Path) -> Path:
    """The lock file of an artifact: the system frees it when its holder dies, so there are no stale ones."""
    return folder.with_name(f".{folder.name}.lock")


def scratch_of(out: Path) -> Path:
    """The folder beside a fit's own in which an interrupted fit leaves what the next one may go on from."""
    return out.with_name("scratch")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder but its manifest, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {str(path.relative_to(folder)): file_digest(path) for path in files}


def seal(folder: Path, **more: Any) -> None:
    """Closes a folder with a manifest: the checksums of its files, and what else is to be kept with them."""
    write_sealed(folder / MANIFEST, {**more, "files": digests(folder)})


def folder_fault(folder: Path) -> str | None:
    """What is damaged in a sealed folder, in words; None where it is whole and as it was sealed."""
    try:
        manifest = read_sealed(folder / MANIFEST, "artifact")
        expected, present = dict(manifest["files"]), digests(folder)
    except CompareError as error:
        return str(error)
    except OSError as error:
        return f"{folder}: {error}"
    except (KeyError, TypeError, ValueError):
        return f"{folder}: its {MANIFEST} is damaged"
    for name in sorted(expected.keys() | present.keys()):
        if expected.get(name) != present.get(name):
            what = (
                "is missing" if name not in present else "is damaged" if name in expected else "does not belong there"
            )
            return f"{folder}: {name} {what}"
    return None


def artifact_fault(folder: Path) -> str | None:
    """What is damaged in an artifact's folder, in words; None where it is whole and as it was written."""
    fault = folder_fault(folder)
    if fault is not None:
        return fault
    manifest = read_sealed(folder / MANIFEST, "artifact")
    key, seconds = manifest.get("key"), manifest.get("fit_seconds")
    if not (isinstance(key, str) and isinstance(seconds, (int, float)) and folder.name.endswith(f"-{key[:16]}")):
        return f"{folder}: its {MANIFEST} is of another artifact"
    return None


def _seconds(folder: Path, key: str) -> float | None:
    """The fit's seconds where the folder is whole and unchanged, else None."""
    if not folder.exists():
        return None
    fault = artifact_fault(folder)
    if fault is not None:
        log.warning("%s: it is made again.", fault.rstrip("."))
        return None
    manifest = read_sealed(folder / MANIFEST, "artifact")
    return float(manifest["fit_seconds"]) if manifest["key"] == key else None


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"the artifact {folder} can't be written: {refusal(error)}")
