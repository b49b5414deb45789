"""One file over HTTP: resumed where it was, tried again, and kept only whole."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comparisons.util.errors import CompareError, StorageError, refusal
from comparisons.util.files import file_digest

# By hand: pooch resumes nothing, and what huggingface_hub resumes it neither tries again on 5xx nor checks by content.

PARTIAL = ".part"
"""Ends the name of a file that is not whole yet."""
TRIES = 5
LONGEST_WAIT = 30.0
_CHUNK = 1 << 16
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
        timeout: for the server's next bytes.
        pause: before the second try; doubled before each further one.
        sleep: what waits.
    """

    timeout: float = 30.0
    pause: float = 1.0
    sleep: Callable[[float], None] = time.sleep


def download(url: str, path: Path, pin: str | None, patience: Patience) -> str:
    """Brings a file, going on with what an earlier call left beside it.

    Args:
        url: http or https.
        path: where it goes, by a rename once it is whole and checked.
        pin: as `Source.pins`; None where nothing is known of its content.
        patience: see there.

    Returns:
        Its SHA-256.

    Raises:
        CompareError: the server refuses or can't be reached, or sent something else than what is pinned.
        StorageError: the disk refuses.
    """
    beside = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = beside.exists()
        if not (resumed and pin is not None and matches(beside, pin)):
            _bring(url, beside, patience)
        if resumed and pin is not None and not matches(beside, pin):
            # What an earlier call left may be of something else.
            beside.unlink()
            _bring(url, beside, patience)
        if pin is not None and not matches(beside, pin):
            digest = file_digest(beside)
            beside.unlink()
            raise CompareError(
                f"{url}: its content is not the pinned one (its SHA-256 is {digest}): nothing of it was kept; try "
                "again, or take what is there now by --revision."
            )
        digest = file_digest(beside)
        beside.replace(path)
        return digest
    except OSError as error:
        raise StorageError(f"{path} can't be written: {refusal(error)}") from error


def matches(path: Path, pin: str) -> bool:
    """Whether a file's content is the pinned one."""
    kind, _, digest = pin.partition(":")
    if kind == "sha256":
        return file_digest(path) == digest
    assert kind == "git", pin
    total = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest() == digest


def _bring(url: str, beside: Path, patience: Patience) -> None:
    """Fills the file beside, in as many tries as are allowed without a byte of progress."""
    tries, before = 0, -1
    while True:
        got = beside.stat().st_size if beside.exists() else 0
        tries, before = (tries + 1, got) if got <= before else (1, got)
        wait = min(LONGEST_WAIT, patience.pause * 2.0 ** (tries - 1))
        try:
            if _attempt(url, beside, got, patience.timeout):
                return
            problem = "the connection ended early"
        except _Transient as error:
            problem, wait = str(error), error.wait if error.wait is not None else wait
        if tries >= TRIES:
            raise CompareError(f"{url}: {problem}, {TRIES} times; the same command goes on where it was.")
        patience.sleep(wait)


class _Transient(Exception):
    """Something that may pass."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


def _attempt(url: str, beside: Path, got: int, timeout: float) -> bool:
    """Asks once for what is missing; True where the file is whole then."""
    headers = {"User-Agent": "compare", "Accept-Encoding": "identity"} | ({"Range": f"bytes={got}-"} if got else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            beside.unlink(missing_ok=True)
            raise _Transient("the server has less than what is here") from None
        if error.code in _TRANSIENT:
            raise _Transient(f"the server answers {error.code}", _asked_wait(error)) from None
        hint = "there is no such file or revision" if error.code == 404 else f"the server refuses ({error.code})"
        raise CompareError(f"{url}: {hint}.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Transient(f"can't be reached ({getattr(error, 'reason', None) or error})") from None
    with response:
        whole = response.status != 206
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (0 if whole else got)
        with beside.open("wb" if whole else "ab") as file:
            while True:
                try:
                    chunk = response.read1(_CHUNK)
                except (OSError, http.client.HTTPException):
                    return False
                if not chunk:
                    break
                file.write(chunk)
    return total is None or beside.stat().st_size == total


def _asked_wait(error: urllib.error.HTTPError) -> float | None:
    """The seconds that the server asks to wait for, where it asks in seconds."""
    asked = error.headers.get("Retry-After") or ""
    return min(LONGEST_WAIT, float(asked)) if asked.isdigit() else None
