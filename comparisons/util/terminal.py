"""What stands on stderr is the program's own; what libraries write there goes to a log, kept in the run's folder.

Text that others wrote is shown without steering the terminal.

Which libraries speak, by which logger and in which words, changes with their versions, so nothing here names one.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import IO, Any, TextIO

LIBRARY_LOG = "libraries.log"
"""In a run's folder: what libraries wrote to stderr while it ran; none where they wrote nothing."""

KEPT = 1 << 20
"""Bytes of it that are kept, the last ones."""

SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD")
"""Environment variables of such names hold what no log may."""


class _Terminal:
    """Where the program's own lines go: sys.stderr, or what was sys.stderr while a log stands in its place."""

    def __init__(self) -> None:
        self.stream: TextIO | None = None
        self.descriptor = 2
        self.log: IO[bytes] | None = None


_terminal = _Terminal()


def stderr() -> TextIO:
    """The stream of the program's own lines."""
    return _terminal.stream or sys.stderr


def descriptor() -> int:
    """The file descriptor of that stream, for what can't wait for Python."""
    return _terminal.descriptor


def say(text: str) -> None:
    """Prints a line of the program's own to stderr."""
    print(text, file=stderr(), flush=True)


@contextmanager
def showing_through(stream: Any) -> Iterator[None]:
    """Sends the program's own lines through a display, which knows where on the screen there is room for them."""
    before, _terminal.stream = _terminal.stream, stream
    try:
        yield
    finally:
        _terminal.stream = before


@contextmanager
def libraries_logged(descriptors: bool = False) -> Iterator[None]:
    """Lets a log take sys.stderr's place until the context closes; within another such context it changes nothing.

    Args:
        descriptors: also take what is written past Python, to file descriptor 2, by C libraries and child processes.
    """
    if _terminal.log is not None:
        yield
        return
    with _log_file() as log, _own_stream(log, descriptors), _own_loggers():
        _terminal.log = log
        try:
            with redirect_stderr(_LogStream(log)):
                yield
        finally:
            _terminal.log = None


def keep_library_log(folder: Path) -> None:
    """Appends what libraries have written so far to the log of a run's folder; a disk that refuses loses it."""
    log = _terminal.log
    if log is None or not folder.is_dir():
        return
    with suppress(OSError):
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - KEPT))
        text = _without_secrets(log.read(KEPT).decode(errors="replace"))
        log.truncate(0)
        if text.strip():
            with (folder / LIBRARY_LOG).open("a", encoding="utf-8") as file:
                file.write(text)


class _LogStream(io.TextIOBase):
    """sys.stderr while libraries are logged: what can't be written is lost, and nobody's failure."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, log: IO[bytes]) -> None:
        self.buffer = log

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            self.buffer.write(text.encode(self.encoding, self.errors))
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.buffer.fileno()


@contextmanager
def _log_file() -> Iterator[IO[bytes]]:
    try:
        opened: IO[bytes] = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - closed below
    except OSError:
        opened = open(os.devnull, "a+b", buffering=0)  # noqa: SIM115 - closed below
    with opened as file:
        yield file


@contextmanager
def _own_stream(log: IO[bytes], descriptors: bool) -> Iterator[None]:
    """Keeps what sys.stderr is for the program's own lines."""
    before = sys.stderr
    if not descriptors or not _is_descriptor_2(before):
        with showing_through(before):
            yield
        return
    before.flush()
    _terminal.descriptor = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        kept = os.dup(_terminal.descriptor)
        with (
            open(kept, "w", buffering=1, encoding=before.encoding, errors=before.errors) as stream,
            showing_through(stream),
        ):
            yield
    finally:
        before.flush()
        os.dup2(_terminal.descriptor, 2)
        os.close(_terminal.descriptor)
        _terminal.descriptor = 2


def _is_descriptor_2(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 2)
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def _own_loggers() -> Iterator[None]:
    """Shows what the program's own loggers warn of, where nobody else has set logging up."""
    handler = _LineHandler(logging.WARNING)
    loggers = [logger for name in ("comparisons", "methods") if not (logger := logging.getLogger(name)).hasHandlers()]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _LineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def _without_secrets(text: str) -> str:
    """The text without the values of variables that hold secrets."""
    for name, value in os.environ.items():
        if len(value) >= 8 and any(word in name.upper() for word in SECRETS):
            text = text.replace(value, f"<{name}>")
    return text


def printable(text: str) -> str:
    """The text with characters that steer a terminal, or reverse the text, written as escapes; lines and tabs stay."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable() or (character.isspace() and ord(character) > 0x9F):
        return character
    code = ord(character)
    # Joiners and variation selectors are parts of letters and pictures.
    if code in (0x200C, 0x200D):
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
