"""SIGINT and SIGTERM: the command ends within seconds, whatever it is in the middle of, and says how to go on.

Everything on disk is written so that a kill at any moment loses nothing that was done. So an interrupted command first
unwinds, which removes what is half made; where that does not come through in time (a long call into C code that knows
no signals, an exception that a library swallows, a thread that waits for a server) the process ends without it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
from types import FrameType

from comparisons.util.terminal import descriptor

INTERRUPTED = 130
PATIENCE = 3.0
"""Seconds that unwinding may take."""

SHOW_CURSOR = b"\x1b[?25h"


class Interruption:
    """What is known of an interruption of this process.

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
