"""Where the time of a whole run goes, by the stages that it tells its display."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from comparisons.experiment.specification import Specification
from comparisons.running.executor import LocalExecutor
from comparisons.running.job import run
from comparisons.running.progress import Silent
from comparisons.util.artifacts import Store

BEFORE = "libraries, data and model"


class Stages(Silent):
    """A display that shows nothing and keeps what each stage takes.

    Attributes:
        seconds: by stage, in the order in which they began: by the clock, and of this process's processor time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}
        self._stage, self._since = BEFORE, (time.perf_counter(), time.process_time())

    def stage(self, text: str) -> None:
        """Ends the stage before."""
        now, spent = (time.perf_counter(), time.process_time()), self.seconds.get(self._stage, (0.0, 0.0))
        self.seconds[self._stage] = (spent[0] + now[0] - self._since[0], spent[1] + now[1] - self._since[1])
        self._stage, self._since = text, now

    @contextmanager
    def opened(self, cells: int) -> Iterator[Stages]:
        """The display of so many cells."""
        yield self


def staged(spec: Specification) -> dict[str, tuple[float, float]]:
    """Makes a run with fits of its own, throws both away, and returns `Stages.seconds`."""
    stages = Stages()
    with TemporaryDirectory() as folder:
        run(spec, stages.opened, Path(folder, "run"), executor=lambda plan, _: LocalExecutor(plan, Store(Path(folder))))
        stages.stage("")
    return stages.seconds
