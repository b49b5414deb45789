"""Runs the command line in forks of a process that has all libraries loaded, and lets faults happen to them.

A whole run takes three seconds so, of which none is spent on imports: that makes many kills affordable. All of
pytest-xdist's processes share one such process.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.forked import become

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "COMPARE_TESTS_FORKS"
"""The environment variable with the folder of the sockets of the process that all share."""

PIPE = 1 << 19
"""Bytes that a pipe holds: more than any command prints."""

SOME, ALL = "some", "all"
"""Names of the two sockets, by what is imported before a fork."""

SILENT = (
    "comparisons.cli.run",
    "comparisons.running.job",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.tokenization_llama",
)
"""What imports without a word, with all that it imports."""

PRELOADED = (
    "comparisons.report.document",
    "comparisons.report.page",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "comparisons.method._checkpoints",
    "comparisons.method._trainer",
    "peft.tuners.lora",
    "methods.caa",
    "scipy.stats",
    "torch._dynamo",
    "trl.trainer.dpo_trainer",
    "trl.trainer.sft_trainer",
)


@dataclass(frozen=True)
class Command:
    """A command line to run.

    Attributes:
        arguments: of `compare`.
        folder: its working directory.
        after: seconds until the signal; None for none.
        signal: which.
        refuse: the write, counted from 0, from which on the disk is full: files can't be made.
        short: the same, but files are made and can't grow beyond `room` bytes: what is written is cut off.
        room: bytes.
        do: what the shell does in the working directory, as the fault.
        at: the write before which it does so; -1 for before everything.
        every: seconds between a training's checkpoints.
        variables: of the environment.
        program: Python code to run in place of `compare`.
        together: it is one of several that are started at once, and all end where one fails.
        within: the number of a process whose user's and mounts' namespaces it joins; 0 for none.
    """

    arguments: Sequence[str]
    folder: str
    after: float | None = None
    signal: int = signal.SIGKILL
    refuse: int | None = None
    short: int | None = None
    room: int = 0
    do: str = ""
    at: int = -1
    every: float = 0.0
    variables: dict[str, str] = field(default_factory=dict)
    program: str = ""
    together: bool = False
    within: int = 0


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        code: its exit code, negative where a signal ended it.
        printed: on stdout.
        errors: on stderr.
        seconds: from its start to its end.
        lingered: seconds from the signal to its end.
        writes: how many writes were counted.
    """

    code: int
    printed: str
    errors: str
    seconds: float
    lingered: float
    writes: int

    @property
    def said(self) -> str:
        """What it wrote on stdout and stderr."""
        return self.printed + self.errors

    @property
    def complaints(self) -> list[str]:
        """The lines that `compare` begins with its name."""
        return [line for line in self.said.splitlines() if line.startswith("compare: ")]


class Forks:
    """A connection to the process that forks.

    Args:
        folder: of its sockets.
        preloaded: what it has imported: `ALL`, or `SOME` for what imports without a word.
    """

    def __init__(self, folder: str, preloaded: str = ALL) -> None:
        self._path = f"{folder}/{preloaded}"
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._path)
        self._lines, self._awaited = self._socket.makefile("rb"), False

    def start(self, *commands: Command) -> list[int]:
        """Starts commands at once; returns their processes' numbers.

        Those of a test that did not wait for `ended`, since its time was over, are killed.
        """
        if self._awaited:
            self.close()
            self._connect()
        self._awaited = True
        self._socket.sendall(json.dumps([asdict(command) for command in commands]).encode() + b"\n")
        pids: list[int] = json.loads(self._lines.readline())
        return pids

    def ended(self) -> list[Ended]:
        """Waits for all that were started."""
        found = [Ended(**each) for each in json.loads(self._lines.readline())]
        self._awaited = False
        return found

    def run(self, *commands: Command) -> list[Ended]:
        """Starts commands at once and waits for all."""
        self.start(*commands)
        return self.ended()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def forking(**variables: str) -> Iterator[str]:
    """The folder of the sockets of a process that forks, which imports libraries when somebody connects.

    Args:
        **variables: of the environment, that libraries read when they are imported.
    """
    with TemporaryDirectory(prefix="forks-") as folder:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "2", **variables}
        command = [sys.executable, "-m", "tests.forks", folder]
        with subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdout.readline()
            yield folder
            process.stdin.close()


class _Child:
    def __init__(self, command: Command) -> None:
        self.command, self.begun = command, time.monotonic()
        self.signalled: float | None = None
        pipes = [os.pipe() for _ in range(3)]
        self.reading = [reading for reading, _ in pipes]
        for _, writing in pipes:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
        self.pid = os.fork()
        if self.pid == 0:
            become(command, *(writing for _, writing in pipes))
        for _, writing in pipes:
            os.close(writing)

    def ended(self) -> Ended | None:
        """How it ended, None while it runs; sends the signal when it is time."""
        now, after = time.monotonic(), self.command.after
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if after is not None and self.signalled is None and now - self.begun >= after:
                os.kill(self.pid, self.command.signal)
                self.signalled = time.monotonic()
            return None
        printed, errors, writes = (_drained(pipe) for pipe in self.reading)
        lingered = now - self.signalled if self.signalled else 0.0
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, printed, errors, now - self.begun, lingered, len(writes))


def _drained(pipe: int) -> str:
    """What was written: the process has ended, and whom it has left behind is not waited for."""
    os.set_blocking(pipe, False)
    with os.fdopen(pipe, "rb", buffering=0) as file:
        return (file.read(PIPE) or b"").decode(errors="replace")


def _preload(names: Sequence[str]) -> None:
    """Imports what a run imports; computes nothing, since threads don't survive a fork."""
    gc.set_threshold(20_000)  # as the command line has it
    for name in names:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()


def _warm() -> None:
    """Runs a small grid, so that forks need not make again what libraries make at their first use.

    It trains nothing, and reads texts one after the other: the threads of autograd and of tokenizers outlive no fork.
    """
    from comparisons.cli import execute

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    grid = "run --behavior refusal --methods caa,sysprompt --layer 1 --train-items 6 --test-items 4 --knowledge none"
    with TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), chdir(folder):
        execute(f"{grid} --out out".split())


def _serve(listener: socket.socket) -> None:
    """Forks for all who connect, until stdin ends."""
    started: dict[socket.socket, list[_Child]] = {}
    clients: set[socket.socket] = set()
    ended: dict[int, Ended] = {}
    while True:
        watched: list[Any] = [0, listener, *clients]
        ready = select.select(watched, [], [], 0.004 if started else None)[0]
        if 0 in ready:
            return
        for one in ready:
            if one is listener:
                clients.add(listener.accept()[0])
            elif request := _line(one):
                started[one] = [_Child(Command(**each)) for each in json.loads(request)]
                one.sendall(json.dumps([child.pid for child in started[one]]).encode() + b"\n")
            else:
                clients.discard(one)
                for child in started.get(one, ()):
                    if child.pid not in ended:
                        os.kill(child.pid, signal.SIGKILL)
        for one, children in list(started.items()):
            for child in children:
                if child.pid not in ended and (end := child.ended()):
                    ended[child.pid] = end
                    for other in children if end.code and child.command.together else ():
                        if other.pid not in ended:
                            os.kill(other.pid, signal.SIGTERM)
            if all(child.pid in ended for child in children):
                answer = json.dumps([asdict(ended.pop(child.pid)) for child in children]).encode() + b"\n"
                with suppress(OSError):  # whoever asked may be gone
                    one.sendall(answer)
                del started[one]


def _line(client: socket.socket) -> bytes:
    """The next line, b"" where there is none to come: clients wait for the answer to each."""
    found = b""
    while not found.endswith(b"\n"):
        try:
            part = client.recv(1 << 16)
        except ConnectionResetError:  # it has left with an answer unread
            part = b""
        if not part:
            return b""
        found += part
    return found


def _main(folder: str) -> None:
    some, many = (_listening(f"{folder}/{name}") for name in (SOME, ALL))
    print("ready", flush=True)
    os.dup2(2, 1)
    if not _asked(some, many):
        return
    _preload(SILENT)
    if os.fork():
        _serve(some)
    elif _asked(many):
        _preload(PRELOADED)
        _warm()
        gc.freeze()
        _serve(many)


def _listening(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen()
    return made


def _asked(*listeners: socket.socket) -> bool:
    """Waits until somebody connects, or nobody can any more."""
    watched: list[Any] = [0, *listeners]
    return 0 not in select.select(watched, [], [])[0]


if __name__ == "__main__":
    _main(sys.argv[1])
