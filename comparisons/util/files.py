"""Writing files whole or not at all, reading them with a clear word on what is wrong; where the embedded ones lie."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Any, Literal

from comparisons.util.errors import CompareError


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8 as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes as `write_parts` does."""
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Writes beside the file and renames, so that a reader meets the old content or the new, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, indented, in the order given; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


SEAL = "sha256"
"""The key of a sealed file's checksum."""
_DIGITS = 64


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with a checksum of its own content, which `read_sealed` checks."""
    write_json(path, {**value, SEAL: json_digest(_plain(value))})


def read_sealed(path: Path, what: str) -> Any:
    """Reads JSON as `read_json` does, and checks and takes off the seal of an object that has one.

    Raises:
        CompareError: the file is missing, broken, or not what was sealed.
    """
    value = read_json(path, what)
    if not isinstance(value, dict):
        return value
    seal = value.pop(SEAL, None)
    if seal != json_digest(value) if seal is not None else _holds_its_digest(value):
        raise CompareError(f"{what}: {path} is damaged, its checksum differs: the command that made it mends it.")
    return value


def _holds_its_digest(value: Mapping[str, Any]) -> bool:
    """Whether a seal is there under a name that was damaged."""
    digests = [name for name, text in value.items() if isinstance(text, str) and len(text) == _DIGITS]
    return any(value[name] == json_digest({n: v for n, v in value.items() if n != name}) for name in digests)


def _plain(value: Any) -> Any:
    """The value as it comes back from a file."""
    return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False))


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes had half written beside files of a folder."""
    for path in leftovers(folder):
        path.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """Half-written files in a folder of which no living process can be the author."""
    named = [(path, _LEFTOVER.fullmatch(path.name)) for path in folder.glob(".*.tmp")]
    return sorted(path for path, match in named if match and not _lives(int(match[1])))


_LEFTOVER = re.compile(r"\..+\.([0-9]+)\.tmp")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process != os.getpid()


def read_json(path: Path, what: str) -> Any:
    """Reads JSON; raises CompareError that names the file where it is missing or broken."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():
            # Half a surrogate pair is no character: nothing made of it could be written.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except FileNotFoundError:
        raise CompareError(f"{what}: there is no file {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())
        raise CompareError(f"{what}: {path} can't be read: {cause}.") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            total.update(chunk)
    return total.hexdigest()


def remembered_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; read once a process, and again where its size or time is another."""
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(64)
def _digest_of(path: Path, *state: int) -> str:
    return file_digest(path)


def json_digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def listed_digest(before: Sequence[Any] | None, values: Iterable[Any], after: Sequence[Any] = ()) -> str:
    """What `json_digest` makes of `[*before, [*values], *after]`, or of `[*values]`, without holding all values.

    Args:
        before: what stands in the list before the values'; None where the values' is the whole.
        values: gone through once.
        after: what stands behind.
    """
    total = hashlib.sha256()
    outer = before is not None
    total.update(b"[" * outer + b"".join(_canonical(value) + b", " for value in before or ()) + b"[")
    for number, value in enumerate(values):
        total.update(b", " * bool(number) + _canonical(value))
    total.update(b"]" + b"".join(b", " + _canonical(value) for value in after) + b"]" * outer)
    return total.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


def load_json(text: str, where: str) -> object:
    """Parses JSON; `where` begins the message of the CompareError about text that isn't."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CompareError(f"{where}: is not JSON, or is cut off ({place}: {error.msg}).") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise CompareError(f"{where}: is JSON that can't be read: {error}.") from error


def filled(template: Path, **values: str) -> str:
    """The text of a template, with its $names replaced."""
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def write_new(files: Mapping[Path, str]) -> tuple[Path, ...]:
    """Writes files that aren't there yet, with their folders.

    Raises:
        CompareError: one is there, and nothing has been written; or it can't be written.
    """
    if there := next((path for path in files if path.exists()), None):
        raise CompareError(f"{there} is there already: choose another name, or another folder by --out.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise CompareError(f"{path} can't be written: {error.strerror or error}.") from error
    return tuple(files)


_IN_A_CHECKOUT = {"data": "data", "pocket": "checkpoints/pocket"}


def embedded(name: Literal["data", "pocket"]) -> Path:
    """The folder of the embedded data or model: inside an installed package, or else in the checkout.

    Whether it exists is for the caller to check.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "embedded" / name
    return installed if installed.is_dir() else package.parent / _IN_A_CHECKOUT[name]
