"""`compare data fetch`: download, check, write in the paper's layout, and remember what was fetched."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparisons.dataset.sources import PER_SUBJECT, SOURCES, Source, Unexpected, laid_out
from comparisons.util.errors import CompareError, StorageError, refusal, unknown
from comparisons.util.files import file_digest, read_sealed, write_bytes, write_sealed, write_text

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
        pause: before the second try; doubled before each further one.
    """

    timeout: float = 30.0
    pause: float = 1.0
    sleep: Callable[[float], None] = time.sleep


def download(url: str, path: Path, pin: str | None, patience: Patience) -> str:
    """Brings a file, going on with what an earlier call left beside it.

    Args:
        path: where it goes, by a rename once it is whole and checked.
        pin: as `Source.pins`; None where nothing is known of its content.

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
            after = error.headers.get("Retry-After") or ""
            asked = min(LONGEST_WAIT, float(after)) if after.isdigit() else None
            raise _Transient(f"the server answers {error.code}", asked) from None
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


STORE = ".fetched"
"""Folder of what was downloaded, as it came, beside the data."""


@dataclass(frozen=True)
class Wanted:
    """What to fetch.

    Attributes:
        out: folder in the paper's layout.
        only: behaviors or subjects; all where empty.
        per_subject: questions of each of MMLU's subjects; None for the default.
    """

    name: str
    out: Path
    only: tuple[str, ...] = ()
    revision: str | None = None
    per_subject: int | None = None
    patience: Patience = field(default_factory=Patience)

    @property
    def source(self) -> Source:
        """Where it is from; raises CompareError for an unknown name."""
        if self.name not in SOURCES:
            raise unknown("data set", self.name, SOURCES)
        return SOURCES[self.name]

    @property
    def store(self) -> Path:
        """Where its downloads are kept."""
        return self.out / STORE / self.name


@dataclass(frozen=True)
class Fetched:
    """What a call did.

    Attributes:
        kept: how many were there already, whole.
        unpinned: downloaded paths of which no checksum was known before.
    """

    downloaded: tuple[str, ...]
    kept: int
    written: tuple[str, ...]
    unpinned: tuple[str, ...]


def fetch(wanted: Wanted, tell: Callable[[str], None]) -> Fetched:
    """Fetches a set, or goes on with one; what is there and whole is neither downloaded nor written again.

    The checksum of a file that isn't pinned is recorded when it first comes, and holds from then on.

    Args:
        tell: told the licence before anything is written, then each file that comes.

    Raises:
        CompareError: something can't be had, or a file of another origin stands where one is to be written.
        StorageError: the disk refuses.
    """
    from filelock import FileLock

    source = wanted.source
    if wanted.per_subject is not None and source.selects != "subjects":
        raise CompareError(f"--per-subject: {source.name} has no subjects.")
    if wanted.only and source.selects == "questions":
        raise CompareError(f"--only: {source.name} is one set of questions, and is fetched whole.")
    paths = source.files(wanted.only)
    revision = wanted.revision or source.revision
    tell(f"{source.title}\nlicence: {source.licence}\nfrom: {source.home}, {source.repository} at {revision}")
    try:
        wanted.store.mkdir(parents=True, exist_ok=True)
        with FileLock(wanted.store.with_suffix(".lock")):
            return _fetched(wanted, paths, revision, tell)
    except OSError as error:
        raise StorageError(f"{wanted.out} can't be written to: {refusal(error)}") from error


def _fetched(wanted: Wanted, paths: Sequence[str], revision: str, tell: Callable[[str], None]) -> Fetched:
    source, record = wanted.source, _Record.read(wanted.store.with_suffix(".json"))
    pins = dict(source.pins) if revision == source.revision else {}
    folder = revision if revision.isalnum() else hashlib.sha256(revision.encode()).hexdigest()[:16]
    places, downloaded, unpinned = {}, [], []
    for number, path in enumerate(paths, start=1):
        place = places[path] = wanted.store / folder / path
        pin = pins.get(path) or record.pin(revision, path)
        if place.is_file() and pin is not None and matches(place, pin):
            continue
        tell(f"{number}/{len(paths)} {path}")
        cached = source.cached(path, revision)
        if cached is not None and (pin is None or matches(cached, pin)):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(place, cached.read_bytes())
            digest = file_digest(place)
        else:
            digest = download(source.url(path, revision), place, pin, wanted.patience)
            downloaded.append(path)
        record.learn(revision, path, digest)
        if pin is None:
            unpinned.append(path)
    try:
        content = laid_out(source.form, places, wanted.only, wanted.per_subject or PER_SUBJECT)
    except Unexpected as error:
        if error.path in pins:
            raise
        # A page of the network in between, say, which must not be trusted from now on; nor what came with it.
        for path in {*unpinned, error.path}:
            record.forget(revision, path)
            places[path].unlink()
        raise CompareError(
            f"{source.url(error.path, revision)}: what came is not what was asked for, and was not kept: {error}"
        ) from error
    written = _write(wanted, content, record)
    notice = f"{source.title}\nLicence: {source.licence}\nHome: {source.home}\n"
    notice += f"Fetched from {source.repository} at {revision}.\n{source.note}\n"
    write_text(wanted.out / f"LICENCE-{source.name}.txt", notice)
    return Fetched(tuple(downloaded), len(paths) - len(downloaded), written, tuple(unpinned))


def _write(wanted: Wanted, content: Mapping[str, bytes], record: _Record) -> tuple[str, ...]:
    """Writes what differs; all is looked at first, so that a refusal leaves everything as it was."""
    written = []
    for path, data in content.items():
        place = wanted.out / path
        if not place.exists():
            written.append(path)
            continue
        there = file_digest(place)
        if there == hashlib.sha256(data).hexdigest():
            continue
        if there != record.written.get(path):
            raise CompareError(f"{place} is there already and not from {wanted.name}: name another folder by --out.")
        written.append(path)
    for path in written:
        (wanted.out / path).parent.mkdir(parents=True, exist_ok=True)
        # First the record: a file that is written and not remembered would be taken for another's.
        record.wrote(path, hashlib.sha256(content[path]).hexdigest())
        write_bytes(wanted.out / path, content[path])
    return tuple(written)


class _Record:
    """What was fetched and written, kept beside the downloads in a sealed file.

    Attributes:
        files: by revision, the SHA-256 of each downloaded file.
        written: the SHA-256 of each file of the layout as it was written.
    """

    def __init__(self, path: Path, files: dict[str, dict[str, str]], written: dict[str, str]) -> None:
        self.path, self.files, self.written = path, files, written

    @classmethod
    def read(cls, path: Path) -> _Record:
        if not path.exists():
            return cls(path, {}, {})
        record: Any = read_sealed(path, "the record of what was fetched")
        return cls(path, record["files"], record["written"])

    def pin(self, revision: str, path: str) -> str | None:
        """The pin that an earlier download set."""
        digest = self.files.get(revision, {}).get(path)
        return None if digest is None else f"sha256:{digest}"

    def learn(self, revision: str, path: str, digest: str) -> None:
        self.files.setdefault(revision, {})[path] = digest
        self._save()

    def forget(self, revision: str, path: str) -> None:
        """Unlearns a download's pin."""
        del self.files[revision][path]
        self._save()

    def wrote(self, path: str, digest: str) -> None:
        self.written[path] = digest
        self._save()

    def _save(self) -> None:
        write_sealed(self.path, {"files": self.files, "written": self.written})
