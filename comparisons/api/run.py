"""The program from Python: `comparisons.run` takes what `compare run` and `compare sweep` take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Unpack

from comparisons.api.arguments import Execution, RunOptions, checked, documented, python_command, values
from comparisons.api.result import Result
from comparisons.util.options import values_of
from comparisons.util.terminal import libraries_logged

if TYPE_CHECKING:
    from comparisons.experiment.specification import Specification
    from comparisons.running.progress import Progress


@documented
def run(
    behavior: str | Iterable[str],
    methods: str | Iterable[str] = (),
    *,
    progress: Callable[[int], AbstractContextManager[Progress]] | None = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Compares methods on behaviors, as `compare run` does; with `layers`, sweeps them, as `compare sweep` does.

    The arguments are the commands' options; a list may be given as one or as text with commas, and settings as
    `{"caa.layer": 1, "sft.rank": [4, 16]}`. The same call resumes a run that was interrupted, and reads again one that
    has ended. A message that names an option, as "--data", means the argument of that name.

    Args:
        behavior: names, or "all".
        methods: stacks, as "caa,sft+caa"; a sweep takes every method with a layer where none is named.
        progress: opens a display for so many cells, as `comparisons.cli.progress.cell_progress`; none by default.

    Returns:
        The run, read from its folder. A cell that failed is a row with its error: see `Result.failed`.

    Raises:
        CompareError: an argument, the data, the model or the folder is wrong; nothing has been written.
    """
    given = checked({"behavior": behavior, "methods": methods, **options})
    from comparisons.running import job
    from comparisons.running.job import make_executor
    from comparisons.running.progress import Silent

    spec, how = specification(given), Execution(**values_of(Execution, values(given)))
    display = progress or (lambda cells: nullcontext(Silent()))
    where = make_executor(how.executor, how.workers, how.gpus_per_cell, how.address)
    with libraries_logged():
        ended = job.run(spec, display, how.out, how.fresh, python_command("run", given), where)
    return Result.read(ended.path)


def specification(given: Mapping[str, Any]) -> Specification:
    """The specification that checked arguments of `run` stand for; raises CompareError where one is wrong."""
    from comparisons.experiment.specification import SWEEP, Specification
    from comparisons.running.sweeps import sweep_specification

    options = values(given)
    if "layers" not in options:
        return Specification.of(options)
    return sweep_specification(Specification.of({**SWEEP, **options}), options["layers"])
