"""Workers outside this process: each has batches waiting, and one that dies is replaced.

What a dead worker had is answered by failures that ask for another try.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol

from imagpose.serving.bulk.requests import Batch
from imagpose.serving.bulk.worker import Answer

_DEATHS = 3  # for each worker, with no answer in between: one more, and the job is given up


class RemoteWorker(Protocol):
    """A process that opens its model when it is made. Any error in what it promises means that it is of no more use.

    Attributes:
        ready: done when the model is open.
    """

    ready: Future[None]

    def answer(self, batch: Batch) -> Future[list[Answer]]:
        """The answers to a batch, after those to the batches before it."""

    def stop(self) -> None:
        """End it, dead or alive."""


class WorkerPool:
    """The workers of a job, and what each has to do.

    Args:
        start: a new worker.
        count: workers at most.
    """

    def __init__(self, start: Callable[[], RemoteWorker], count: int) -> None:
        self.start, self.count = start, count
        self._starting: dict[Future[None], RemoteWorker] = {}
        self._load: dict[RemoteWorker, int] = {}  # batches at each worker that is ready
        self._pending: dict[Future[list[Answer]], tuple[RemoteWorker, Batch]] = {}
        self._deaths, self._ever_ready = 0, False

    def answers(self, batches: Sequence[Batch], depth: int) -> Iterator[list[Answer]]:
        """The answers to each batch, in any order.

        Args:
            batches: sent one by one, when a worker has room.
            depth: batches that a worker has at a time, the one it works on included.

        Raises:
            ValueError: the first worker to start cannot open its model.
            OSError: workers die one after the other.
        """
        waiting = deque(batches)
        while waiting or self._pending:
            while waiting and (worker := self._free(depth)) is not None:
                batch = waiting.popleft()
                self._pending[worker.answer(batch)] = worker, batch
                self._load[worker] += 1
            while waiting and len(self._load) + len(self._starting) < min(self.count, len(batches)):
                worker = self.start()
                self._starting[worker.ready] = worker
            futures: list[Future[Any]] = [*self._pending, *self._starting]
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                if future in self._starting:
                    self._take_in(future)
                else:
                    yield self._collect(future)

    def _free(self, depth: int) -> RemoteWorker | None:
        """The worker with the least to do, if it may have more."""
        worker = min(self._load, key=lambda own: self._load[own], default=None)
        return worker if worker is not None and self._load[worker] < depth else None

    def _take_in(self, ready: Future[None]) -> None:
        worker = self._starting.pop(ready)
        try:
            ready.result()
        except Exception as error:
            worker.stop()
            if not self._ever_ready:
                raise ValueError(f"a worker could not start: {_last_line(error)}") from None
            self._count_death(error)
            return
        self._ever_ready = True
        self._load[worker] = 0

    def _collect(self, future: Future[list[Answer]]) -> list[Answer]:
        worker, batch = self._pending.pop(future)
        try:
            answers = future.result()
        except Exception as error:
            if self._load.pop(worker, None) is not None:  # else another of its batches came first
                worker.stop()
                self._count_death(error)
            reason = f"its worker was killed or died ({_last_line(error)})"
            return [Answer.of_failure(task, reason, again=True) for task in batch.tasks]
        if worker in self._load:
            self._load[worker] -= 1
        self._deaths = 0
        return answers

    def _count_death(self, error: Exception) -> None:
        self._deaths += 1
        if self._deaths > _DEATHS * self.count:
            raise OSError(f"workers die one after the other: {_last_line(error)}; run the command again to continue")

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._load, *self._starting.values()):
            worker.stop()
        self._load, self._starting = {}, {}


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
