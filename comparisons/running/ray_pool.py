"""The workers of a cluster: as many as fit, replaced when they are lost, each with the model that it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from comparisons.running.ray_worker import Worker
from comparisons.util.errors import CompareError

STORE_BYTES = 512 * 2**20
"""Of the objects that Ray holds in memory: rows are small, and what doesn't fit goes to disk."""

POLL = 0.2
"""Seconds between two looks at what workers have done."""


@dataclass(frozen=True)
class ClusterOptions:
    """What to run on.

    Attributes:
        address: of a Ray cluster; None starts one on this machine, for this run.
        gpus: of each worker; None is one where the cluster has any. A share of one puts several workers on a GPU.
        workers: how many; None is as many as the cluster's GPUs allow, or on CPUs one a core.
    """

    address: str | None = None
    gpus: float | None = None
    workers: int | None = None


class WorkerLost(Exception):
    """A worker's process or machine is gone."""


class WorkerUnfit(CompareError):
    """A worker can't begin where it is."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker as the pool sees it.

    Attributes:
        actor: its handle.
        model: the model that it holds; "" for none.
    """

    actor: Any
    model: str = ""


class WorkerPool:
    """Starts Ray, or joins a cluster, and hires workers there.

    Args:
        options: what to run on.
        make: the arguments of a `Worker`.
        tasks: how many pieces of work there are: more workers would have nothing to do.

    Raises:
        CompareError: Ray is not installed or can't be reached, or the cluster is too small.
    """

    def __init__(self, options: ClusterOptions, make: tuple[Any, ...], tasks: int) -> None:
        self._ray, self._make = _started(options.address), make
        try:
            resources = self._ray.cluster_resources()
            self._gpus, self.size = _shares(options, resources, tasks)
            self._cpus = 0 if self._gpus else max(1, int(resources.get("CPU", 1)) // self.size)
        except BaseException:
            self.close()
            raise

    def hire(self) -> WorkerHandle:
        """Starts a worker; what is wrong with it shows in the first call."""
        remote = self._ray.remote(Worker)
        return WorkerHandle(remote.options(num_cpus=self._cpus, num_gpus=self._gpus).remote(*self._make))

    def ended(self, calls: list[Any], seconds: float = POLL) -> list[Any]:
        """The calls that have ended, after a while."""
        found: list[Any] = self._ray.wait(calls, num_returns=len(calls), timeout=seconds)[0]
        return found

    def result(self, call: Any) -> Any:
        """What a call returned.

        Raises:
            WorkerLost: its worker is gone.
            WorkerUnfit: its worker could not begin.
            Exception: whatever it raised.
        """
        with self._own_errors():
            return self._ray.get(call)

    def close(self) -> None:
        """Ends the workers, and the cluster that was started for them."""
        self._ray.shutdown()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        from ray.exceptions import RayActorError, RayError, RayTaskError

        try:
            yield
        except RayTaskError as error:
            raise getattr(error, "cause", None) or CompareError(_line(error)) from error
        except RayActorError as error:
            raise (_unfit(error) or WorkerLost(_line(error))) from error
        except RayError as error:
            raise WorkerLost(_line(error)) from error


def _started(address: str | None) -> Any:
    """Ray, connected."""
    # Before Ray is imported: no figures of use are sent anywhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not address:
        # As Ray does by itself, with a line about it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise CompareError(
            "--executor ray needs Ray, which isn't installed: pip install 'llm-comparisons[ray]'."
        ) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(address=address or "local", **quiet, **({} if address else own))
    except Exception as error:
        raise CompareError(f"can't reach the Ray cluster {address or 'on this machine'}: {_line(error)}") from error
    return ray


def _shares(options: ClusterOptions, resources: dict[str, float], tasks: int) -> tuple[float, int]:
    """GPUs a worker, and how many workers."""
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 1.0)
    each = (1.0 if gpus else 0.0) if options.gpus is None else options.gpus
    most = int(gpus // each) if each else int(cpus)
    if most < 1:
        raise CompareError(f"--gpus-per-cell {each:g}: the cluster has {gpus:g} GPUs: name fewer.")
    if options.workers is not None and options.workers > most:
        what = f"{gpus:g} GPUs for {each:g} each" if each else f"{cpus:g} CPUs"
        raise CompareError(f"--workers {options.workers}: the cluster has {what}: name at most {most}.")
    return each, max(1, min(options.workers or most, tasks))


def _unfit(error: Exception) -> WorkerUnfit | None:
    """What a worker's beginning raised, where that is why it is gone: Ray tells it in its own error's text alone."""
    lines = [line.partition(_OURS)[2].strip() for line in str(error).splitlines() if _OURS in line]
    return WorkerUnfit(lines[-1]) if lines else None


_OURS = f"{CompareError.__name__}: "


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
