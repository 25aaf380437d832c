"""Where batches are answered: in this process, in processes of this machine, or by actors of a Ray cluster.

Workers get batches as they have room for them, so that no more is read and kept than they and the writer keep up with.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from imagpose.devices import choose_device
from imagpose.io import error_line
from imagpose.pipeline.loading import check_dtype
from imagpose.serving.bulk.pool import WorkerPool
from imagpose.serving.bulk.requests import Batch
from imagpose.serving.bulk.worker import Answer, BulkWorker, WorkerSettings
from imagpose.workers import WorkerProcess

ENGINES = ("local", "ray")


class Engine(Protocol):
    """A number of workers.

    Attributes:
        check_workers: processes that may check the table; None: one per core of this machine.
    """

    check_workers: int | None

    def open(self, device: str | None, dtype: str | None) -> str:
        """Make ready; the device that every worker will use, where `device` does not say.

        Raises:
            ValueError: it is not there, not with so many workers, or does not compute in this precision.
        """

    def answers(self, settings: WorkerSettings, batches: Sequence[Batch], alone: bool) -> Iterator[list[Answer]]:
        """The answers to each batch, in any order.

        Args:
            settings: of the workers.
            batches: sent one by one.
            alone: none may wait behind another at the same worker, which might not survive that.
        """

    def close(self) -> None:
        """Give back what `open` took."""


class LocalEngine:
    """Processes of this machine, one model each, of which a killed one is replaced; with one worker, this process."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.check_workers: int | None = workers
        self._own: BulkWorker | None = None
        self._pool: WorkerPool | None = None

    def open(self, device: str | None, dtype: str | None) -> str:
        check_dtype(dtype, device)
        return choose_device(device)

    def answers(self, settings: WorkerSettings, batches: Sequence[Batch], alone: bool) -> Iterator[list[Answer]]:
        if self.workers == 1:
            self._own = self._own or BulkWorker(settings)
            yield from map(self._own.answer, batches)
        else:
            self._pool = self._pool or WorkerPool(partial(_ProcessWorker, settings), self.workers)
            yield from self._pool.answers(batches, depth=1 if alone else 2)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._own = self._pool = None


class _ProcessWorker:
    """A worker in a process of this machine."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._process = WorkerProcess()
        self.ready = self._process.submit(_open_in_process, settings)

    def answer(self, batch: Batch) -> Future[list[Answer]]:
        return self._process.submit(_answer_in_process, batch)

    def stop(self) -> None:
        self._process.close()


_OWN: dict[str, BulkWorker] = {}  # of a process that `_ProcessWorker` started, which does nothing else


def _open_in_process(settings: WorkerSettings) -> None:
    _OWN["worker"] = BulkWorker(settings)


def _answer_in_process(batch: Batch) -> list[Answer]:
    return _OWN["worker"].answer(batch)


class RayEngine:
    """Actors of a Ray cluster, one model each. One that dies is replaced; what it had is answered by failures.

    Args:
        workers: actors.
        address: of the cluster, "auto" for the one that this machine belongs to; None: Ray is started here for the job.
        cpus, gpus: of each actor, fractions allowed. None: half a core, and 1 GPU where the cluster has GPUs.
    """

    def __init__(
        self, workers: int = 1, address: str | None = None, cpus: float | None = None, gpus: float | None = None
    ) -> None:
        self.workers, self.address, self.gpus = workers, address, gpus
        self.cpus = 0.5 if cpus is None else cpus
        self.check_workers: int | None = None
        self._started = False
        self._pool: WorkerPool | None = None

    def open(self, device: str | None, dtype: str | None) -> str:
        ray = _import_ray()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
        if not ray.is_initialized():
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if self.address is None:
                room = int(self.workers * self.cpus) + 2  # actors never take what Ray itself works with
                options |= {"num_cpus": max(os.cpu_count() or 1, room), "include_dashboard": False}
            else:
                options["address"] = self.address
            at_sigterm = signal.getsignal(signal.SIGTERM)
            try:
                ray.init(**options)
            except (ConnectionError, RuntimeError) as error:
                raise ValueError(f"no Ray cluster at {self.address}: {error_line(error, 300)}") from None
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, at_sigterm)  # Ray's own handler prints its stack and ends with code 15
            self._started = True
        there = ray.cluster_resources()
        if self.gpus is None:
            self.gpus = 1.0 if there.get("GPU", 0) and device != "cpu" else 0.0
        for name, each in (("CPU", self.cpus), ("GPU", self.gpus)):
            if each * self.workers > there.get(name, 0):
                raise ValueError(
                    f"{self.workers} workers need {each * self.workers:g} {name}s and the cluster has"
                    f" {there.get(name, 0):g}: fewer workers, or a smaller share for each"
                )
        device = device or ("cuda" if self.gpus else "cpu")
        if device == "cpu":
            check_dtype(dtype, device)  # of other devices only the workers know
        return device

    def answers(self, settings: WorkerSettings, batches: Sequence[Batch], alone: bool) -> Iterator[list[Answer]]:
        if self._pool is None:
            ray = _import_ray()
            remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus or 0, max_restarts=0)(BulkWorker)
            self._pool = WorkerPool(partial(_Actor, ray, remote, settings), self.workers)
        yield from self._pool.answers(batches, depth=1 if alone else 2)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._started:
            _import_ray().shutdown()
            self._started = False


class _Actor:
    """A worker that is an actor of Ray.

    Args:
        ray: the module.
        remote: `BulkWorker` as a class of actors.
    """

    def __init__(self, ray: Any, remote: Any, settings: WorkerSettings) -> None:
        self._kill, self._actor = ray.kill, remote.remote(settings)
        self.ready: Future[None] = self._actor.ready.remote().future()

    def answer(self, batch: Batch) -> Future[list[Answer]]:
        future: Future[list[Answer]] = self._actor.answer.remote(batch).future()
        return future

    def stop(self) -> None:
        self._kill(self._actor)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"--engine ray needs Ray: pip install 'imagpose[bulk]' ({error})") from None
    return ray
