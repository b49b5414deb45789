"""The command line: each command parses, calls one library function, and prints."""

from __future__ import annotations

import gc
import os
import shlex
import signal
import socket
import sys
import threading
from types import FrameType

import click

from comparisons.model.processes import help_out, leads, led
from comparisons.util import __version__
from comparisons.util.errors import CompareError, refusal, storage_fault
from comparisons.util.terminal import descriptor, libraries_logged, printable, say

COMMANDS = {
    "run": "run",
    "sweep": "run.sweep",
    "report": "finished.report",
    "diff": "finished.diff",
    "methods": "methods",
    "new-method": "methods.new",
    "check-method": "methods.check",
    "evaluations": "methods.listed_evaluations",
    "check-evaluation": "methods.check_evaluation",
    "behaviors": "data.behaviors",
    "data": "data",
    "vectors": "vectors",
    "trace": "trace",
    "lens": "lens",
    "replicate": "replicate",
    "doctor": "doctor",
    "bench": "bench",
    "generate": "generate",
    "score": "finished.score",
    "share": "finished.share",
}
"""Where each command is: a module, and its name there if that isn't `command`; in the order of `--help`."""


INTERRUPTED = 130
PATIENCE = 3.0
"""Seconds that unwinding may take."""

SHOW_CURSOR = b"\x1b[?25h"


class Interruption:
    """An interruption of this process by SIGINT or SIGTERM: it ends within seconds, and says how to go on.

    Everything on disk is written so that a kill at any moment loses nothing that was done. So an interrupted command
    first unwinds, which removes what is half made; where that does not come through in time (a long call into C code
    that knows no signals, an exception that a library swallows, a thread that waits for a server) the process ends
    without it.

    Attributes:
        asked: whether a signal came.
        again: the command that goes on, as a user types it.
    """

    def __init__(self) -> None:
        self.asked, self.again = False, ""
        self._said = threading.Lock()

    def watch(self, arguments: list[str]) -> None:
        """Takes the signals from here on."""
        program = ["python", "-m", "comparisons"] if sys.argv[0].endswith("__main__.py") else ["compare"]
        self.again = shlex.join([*program, *arguments])
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        # Unlike a handler, this is written at once, also during a long call into C code.
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        threading.Thread(target=self._guard, args=(ours, theirs), name="interruption", daemon=True).start()

    def discarded(self) -> None:
        """What --fresh was to discard is gone: going on must not discard what has been done since."""
        self.again = shlex.join(part for part in shlex.split(self.again) if part != "--fresh")

    def say(self) -> None:
        """Says once on stderr that the command was interrupted, and how to go on."""
        if self._said.acquire(blocking=False):
            text = f"compare: interrupted; what is done is kept. To go on: {self.again}\n"
            fd = descriptor()
            os.write(fd, (SHOW_CURSOR if os.isatty(fd) else b"") + text.encode(errors="replace"))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self._end()
        self.asked = True
        raise KeyboardInterrupt

    def _guard(self, ours: socket.socket, theirs: socket.socket) -> None:
        """Ends the process where it has not ended by itself in time."""
        while not set(ours.recv(16)) & {signal.SIGINT, signal.SIGTERM}:
            pass
        threading.Event().wait(PATIENCE)
        self._end()

    def _end(self) -> None:
        self.say()
        os._exit(INTERRUPTED)


interruption = Interruption()
"""Of this process."""


class Commands(click.Group):
    """Loads a command's module when it is asked for, so that listing and help stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, name = COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(import_module(f"comparisons.cli.{module}"), name or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from comparisons.util.errors import unknown

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compare")
def cli() -> None:
    """Compare ways to change a language model's behavior: steering vectors, system prompts, finetuning, stacks.

    \b
    Examples:
      compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa
      compare sweep --behavior refusal --layers all --strengths 0.5,1,2
      compare report reports/NAME
      compare methods
    """
    from dotenv import load_dotenv

    load_dotenv(".env")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 some cells failed, 2 wrong usage or data, 130 interrupted."""
    # Libraries make objects by the hundred thousand that stay: looking over them as often as Python would takes a sixth
    # of a small run's time.
    gc.set_threshold(20_000)
    interruption.watch(sys.argv[1:] if arguments is None else arguments)
    try:
        with libraries_logged(descriptors=True):
            with led():
                code = execute(arguments) if leads() else help_out()
            if code == INTERRUPTED:
                interruption.say()
    except KeyboardInterrupt:  # while that began or ended
        interruption.say()
        code = INTERRUPTED
    sys.exit(code)


def execute(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    with libraries_logged():
        return _execute(arguments)


def _execute(arguments: list[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="compare", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception as error:
        if interruption.asked:
            # Some libraries make an error of their own of a KeyboardInterrupt.
            return INTERRUPTED
        line, code = _explained(error)
        say(f"compare: {printable(line)}")
        return code


def _explained(error: Exception) -> tuple[str, int]:
    """One line and the exit code for what ended a command; a defect of the program's is raised again."""
    fault = storage_fault(error)
    if fault is not None:
        return str(fault), 1
    if isinstance(error, CompareError):
        return " ".join(str(error).split("\n")), 2
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split()), 2
    if isinstance(error, OSError):
        return refusal(error), 1
    raise error
