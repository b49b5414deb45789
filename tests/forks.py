"""Runs the command line in forks of a process that has all libraries loaded, and lets faults happen to them.

A whole run takes three seconds so, of which none is spent on imports: that makes many kills affordable.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

PRELOADED = (
    "comparisons.cli.run",
    "comparisons.running.job",
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
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.tokenization_llama",
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


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        code: its exit code, negative where a signal ended it.
        said: on stdout and stderr.
        seconds: from its start to its end.
        lingered: seconds from the signal to its end.
        writes: how many writes were counted.
    """

    code: int
    said: str
    seconds: float
    lingered: float
    writes: int

    @property
    def complaints(self) -> list[str]:
        """The lines that `compare` begins with its name."""
        return [line for line in self.said.splitlines() if line.startswith("compare: ")]


class Forks:
    """The process that forks; `run` starts commands at once and waits for all.

    Args:
        within: a command line that starts the one that follows it, such as unshare's.
        variables: of the environment, that libraries read when they are imported.
    """

    def __init__(self, *within: str, **variables: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
        self._server = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.root = Path(f"/proc/{self._server.pid}/root")

    def run(self, *commands: Command) -> list[Ended]:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps([asdict(command) for command in commands]).encode() + b"\n")
        self._server.stdin.flush()
        return [Ended(**each) for each in json.loads(self._server.stdout.readline())]

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


class _Child:
    def __init__(self, command: Command) -> None:
        self.command, self.begun = command, time.monotonic()
        self.signalled: float | None = None
        self.output, theirs = os.pipe()
        self.counted, counting = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.output)
            _become(command, theirs, counting)
        os.close(theirs)
        os.close(counting)

    def ended(self) -> Ended | None:
        """How it ended, None while it runs; sends the signal when it is time."""
        now, after = time.monotonic(), self.command.after
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if after is not None and self.signalled is None and now - self.begun >= after:
                os.kill(self.pid, self.command.signal)
                self.signalled = time.monotonic()
            return None
        said, writes = _drained(self.output), _drained(self.counted)
        lingered = now - self.signalled if self.signalled else 0.0
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, said.decode(errors="replace"), now - self.begun, lingered, len(writes))


def _drained(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


def _become(command: Command, output: int, counting: int) -> None:
    """What the fork does; it never returns."""
    for fd in (1, 2):
        os.dup2(output, fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(command.folder)
    os.environ.update(command.variables)
    if command.do and command.at < 0:
        subprocess.run(command.do, shell=True, check=True)
    sys.argv = ["compare", *command.arguments]
    from comparisons.method import _checkpoints

    _checkpoints.EVERY, _checkpoints.SHARE = command.every, 1e9
    sys.addaudithook(_Faults(command, counting))
    code: Any = 1
    try:
        from comparisons.cli import main

        main(list(command.arguments))
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Faults:
    """An audit hook that counts what is written in the working directory, and lets it fail."""

    def __init__(self, command: Command, counting: int) -> None:
        self.command, self.counting, self.count = command, counting, 0
        self.under = os.path.realpath(command.folder) + os.sep

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.mkdir", "os.rename"):
            return
        path, flags = arguments[0], arguments[2] if event == "open" else WRITING
        if not isinstance(path, (str, bytes, os.PathLike)) or not (flags or 0) & WRITING:
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(self.under):
            return
        number, self.count = self.count, self.count + 1
        os.write(self.counting, b".")
        command = self.command
        if command.refuse is not None and number >= command.refuse:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))
        if command.short == number:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (command.room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if command.do and command.at == number:
            subprocess.run(command.do, shell=True, cwd=command.folder, check=True)


def _preload() -> None:
    """Imports all that a run imports; computes nothing, since threads don't survive a fork."""
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    _preload()
    for line in requests:
        children = [_Child(Command(**each)) for each in json.loads(line)]
        ended: list[Ended | None] = [None] * len(children)
        while None in ended:
            ended = [before or child.ended() for before, child in zip(ended, children, strict=True)]
            time.sleep(0.002)
        answers.write(json.dumps([asdict(each) for each in ended if each is not None]).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, answers)
