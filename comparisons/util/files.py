"""Writing files whole or not at all, and reading them with a clear word on what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons.util.errors import CompareError


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8 as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes beside the file and renames, so that a reader meets the old content or the new, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
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
    found = read_json(path, what)
    if not isinstance(found, dict):
        return found
    seal = found.pop(SEAL, None)
    if seal != json_digest(found) if seal is not None else _holds_its_digest(found):
        raise CompareError(f"{what}: {path} is damaged, its checksum differs: the command that made it mends it.")
    return found


def _holds_its_digest(value: Mapping[str, Any]) -> bool:
    """Whether a seal is there under a name that was damaged."""
    digests = [name for name, found in value.items() if isinstance(found, str) and len(found) == _DIGITS]
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
    found = [(path, _LEFTOVER.fullmatch(path.name)) for path in folder.glob(".*.tmp")]
    return sorted(path for path, match in found if match and not _lives(int(match[1])))


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
        found = json.loads(text)
        if "\\ud" in text.lower():
            # Half a surrogate pair is no character: nothing made of it could be written.
            json.dumps(found, ensure_ascii=False).encode()
        return found
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
