"""What a fork of the test suite does: it becomes a command, or runs a program, with faults where they are asked for."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.forks import Command

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def become(command: Command, output: int, errors: int, counting: int) -> None:
    """What the fork does; it never returns."""
    torch = sys.modules.get("torch")
    if torch is not None:
        # The first use in a fork makes torch's threads anew, and fails where two threads are the first at once.
        torch.set_num_threads(1)
    for fd, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
        os.dup2(file, fd)
    if command.within:
        _join(command.within)
    os.chdir(command.folder)
    os.environ.update(command.variables)
    if command.do and command.at < 0:
        subprocess.run(command.do, shell=True, check=True)
    sys.argv = ["compare", *command.arguments]
    code: Any = 1
    try:
        if command.program:
            exec(compile(command.program, "program", "exec"), {"__name__": "__main__"})
            code = 0
        else:
            _compare(command, counting)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _compare(command: Command, counting: int) -> None:
    from comparisons.cli import main

    if "comparisons.method._checkpoints" in sys.modules:
        from comparisons.method import _checkpoints

        _checkpoints.EVERY, _checkpoints.SHARE = command.every, 1e9
    sys.addaudithook(_Faults(command, counting))
    main(list(command.arguments))


def _join(pid: int) -> None:
    """Joins the namespaces of a process, which a process of one thread can."""
    libc = ctypes.CDLL(None, use_errno=True)
    for fd in [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in ("user", "mnt")]:
        if libc.setns(fd, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)


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
