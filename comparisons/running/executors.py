"""Which executor evaluates a run's cells."""

from __future__ import annotations

from collections.abc import Callable

from comparisons.experiment.specification import Plan
from comparisons.running.executor import Executor, LocalExecutor
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError


def make_executor(
    executor: str = "local", workers: int | None = None, gpus_per_cell: float | None = None, address: str | None = None
) -> Callable[[Plan, Store], Executor]:
    """Where cells are evaluated, as the options say.

    Raises:
        CompareError: an option of a cluster is given for this process.
    """
    given = {"--workers": workers, "--gpus-per-cell": gpus_per_cell, "--address": address}
    if executor == "ray":
        from comparisons.running.ray_executor import RayExecutor
        from comparisons.running.ray_pool import ClusterOptions

        options = ClusterOptions(address, gpus_per_cell, workers)
        return lambda plan, store: RayExecutor(plan, store, options)
    odd = next((name for name, value in given.items() if value is not None), None)
    if odd is not None:
        raise CompareError(f"{odd} goes with --executor ray.")
    return LocalExecutor
