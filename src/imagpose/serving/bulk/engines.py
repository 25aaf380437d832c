"""Where batches are answered: in this process, in processes of this machine, or by actors of a Ray cluster.

An engine takes batches as it has room for them, so that no more is read and kept than workers and the writer keep up with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from imagpose.devices import choose_device
from imagpose.pipeline.loading import check_dtype
from imagpose.serving.bulk.requests import Batch
from imagpose.serving.bulk.worker import Answer, BulkWorker, WorkerSettings
from imagpose.workers import in_order

__all__ = ["ENGINES", "Engine", "LocalEngine", "RayEngine"]

ENGINES = ("local", "ray")
_STARTS = 3  # of a worker in a row that answer nothing, on average, after which the job is given up


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

    def answers(self, settings: WorkerSettings, batches: Iterable[Batch], alone: bool) -> Iterator[list[Answer]]:
        """The answers to each batch, in any order.

        Args:
            settings: of the workers.
            batches: taken one by one.
            alone: none may wait behind another at the same worker, which might not survive that.
        """

    def close(self) -> None:
        """Give back what `open` took."""


class LocalEngine:
    """This process, or several processes of this machine; a killed one ends the job, which continues when run again."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.check_workers: int | None = workers

    def open(self, device: str | None, dtype: str | None) -> str:
        check_dtype(dtype, device)
        return choose_device(device)

    def answers(self, settings: WorkerSettings, batches: Iterable[Batch], alone: bool) -> Iterator[list[Answer]]:
        if self.workers == 1:
            yield from map(BulkWorker(settings).answer, batches)
        else:
            yield from in_order(partial(_answer_in_process, settings), batches, self.workers)

    def close(self) -> None:
        pass


_OWN: dict[str, BulkWorker] = {}  # of a process that `LocalEngine` started, which does nothing else


def _answer_in_process(settings: WorkerSettings, batch: Batch) -> list[Answer]:
    if not _OWN:
        _OWN["worker"] = BulkWorker(settings)
    return _OWN["worker"].answer(batch)


class RayEngine:
    """Actors of a Ray cluster, one model each. One that dies is replaced; what it had is answered by failures.

    Args:
        workers: actors.
        address: of the cluster, "auto" for the one that this machine belongs to; None: Ray is started here for the job.
        cpus, gpus: of each actor, fractions allowed. gpus None: 1 where the cluster has GPUs, else none.
    """

    def __init__(
        self, workers: int = 1, address: str | None = None, cpus: float = 0.5, gpus: float | None = None
    ) -> None:
        self.workers, self.address, self.cpus, self.gpus = workers, address, cpus, gpus
        self.check_workers: int | None = None
        self._started = False
        self._actors: _Actors | None = None

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
            try:
                ray.init(**options)
            except (ConnectionError, RuntimeError) as error:
                raise ValueError(f"no Ray cluster at {self.address}: {' '.join(str(error).split())[:300]}") from None
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

    def answers(self, settings: WorkerSettings, batches: Iterable[Batch], alone: bool) -> Iterator[list[Answer]]:
        if self._actors is None:
            self._actors = _Actors(_import_ray(), self, settings)
        yield from self._actors.answers(iter(batches), depth=1 if alone else 2)

    def close(self) -> None:
        if self._actors is not None:
            self._actors.close()
            self._actors = None
        if self._started:
            _import_ray().shutdown()
            self._started = False


class _Actors:
    """The workers of a job, and what each has to do."""

    def __init__(self, ray: Any, engine: RayEngine, settings: WorkerSettings) -> None:
        self.ray, self.settings, self.count, self.depth = ray, settings, engine.workers, 1
        self._class = ray.remote(num_cpus=engine.cpus, num_gpus=engine.gpus or 0, max_restarts=0)(BulkWorker)
        self._starting: dict[Any, Any] = {}  # actor by the promise that it is ready
        self._load: dict[Any, int] = {}  # batches at each actor that is ready
        self._pending: dict[Any, tuple[Any, Batch]] = {}
        self._deaths, self._ever_ready = 0, False

    def answers(self, batches: Iterator[Batch], depth: int) -> Iterator[list[Answer]]:
        """The answers to each batch.

        Args:
            batches: taken one by one.
            depth: batches that a worker has at a time, the one it works on included.
        """
        self.depth, exhausted = depth, False
        while True:
            while not exhausted and (actor := self._free()) is not None:
                batch = next(batches, None)
                if batch is None:
                    exhausted = True
                else:
                    self._pending[actor.answer.remote(batch)] = (actor, batch)
                    self._load[actor] += 1
            if exhausted and not self._pending:
                return
            while not exhausted and len(self._load) + len(self._starting) < self.count:
                actor = self._class.remote(self.settings)
                self._starting[actor.ready.remote()] = actor
            (done, *_), _ = self.ray.wait([*self._pending, *self._starting], num_returns=1)
            if done in self._starting:
                self._welcome(done)
            else:
                yield self._collect(done)

    def _free(self) -> Any:
        """The actor with the least to do, if it may have more."""
        actor = min(self._load, key=lambda own: self._load[own], default=None)
        return actor if actor is not None and self._load[actor] < self.depth else None

    def _welcome(self, promise: Any) -> None:
        actor = self._starting.pop(promise)
        try:
            self.ray.get(promise)
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            if not self._ever_ready:
                raise ValueError(f"a worker could not start: {_last_line(cause)}") from None
            self._mourn(cause)
            return
        self._ever_ready = True
        self._load[actor] = 0

    def _collect(self, promise: Any) -> list[Answer]:
        actor, batch = self._pending.pop(promise)
        try:
            answers: list[Answer] = self.ray.get(promise)
        except self.ray.exceptions.RayError as error:
            if actor in self._load:
                del self._load[actor]
                self.ray.kill(actor)
                self._mourn(error)
            reason = f"its worker was killed or died ({_last_line(error)})"
            return [Answer.of_failure(task, reason, again=True) for task in batch.tasks]
        if actor in self._load:
            self._load[actor] -= 1
        self._deaths = 0
        return answers

    def _mourn(self, cause: BaseException) -> None:
        """Count the deaths since the last answer."""
        self._deaths += 1
        if self._deaths > _STARTS * self.count:
            raise OSError(f"workers die one after the other: {_last_line(cause)}; run the command again to continue")

    def close(self) -> None:
        for actor in (*self._load, *self._starting.values()):
            self.ray.kill(actor)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"--engine ray needs Ray: pip install 'imagpose[bulk]' ({error})") from None
    return ray
