"""Processes and threads: work on many items on all cores, in the items' order.

Every worker has one thread: several per process are many times slower on shared cores. Source: own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_AHEAD = 4  # items worked on in advance per worker, so that a slow consumer does not fill the memory
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None
) -> Generator[Result, None, None]:
    """`work` of each item, in the items' order, in fresh processes of one thread each.

    Ctrl-C, which a terminal sends to every process, breaks off the work but nothing else of them: they print nothing.

    Args:
        work: a function of a module, or a `functools.partial` of one, where there are several processes.
        items: taken as they are needed, a few per process in advance.
        workers: processes; None for one per usable core, 1 works in this process.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process was killed.
        Exception: the first that `work` raises.
    """
    workers = workers or usable_cores()
    if workers == 1:
        yield from map(work, items)
        return
    pending: deque[Future[Result]] = deque()
    with _one_thread_each(), _spawned(workers) as pool:
        try:
            for item in items:
                pending.append(_submit(pool, work, item))
                if len(pending) >= _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class WorkerProcess:
    """A fresh process of one thread that works on one item after the other, and may be killed without harm to others.

    Ctrl-C breaks off its work as that of `in_order`.
    """

    def __init__(self) -> None:
        self._pool = _spawned(1)

    def submit(self, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """`work`, as of `in_order`, of an item, after the items before it; BrokenProcessPool if the process is gone."""
        with _one_thread_each():
            try:
                return _submit(self._pool, work, item)
            except BrokenProcessPool as error:
                future: Future[Result] = Future()
                future.set_exception(error)
                return future

    def close(self) -> None:
        """End it after the item that it works on; those that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)


def _spawned(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)


def _submit(pool: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    with _interrupts(signal.SIG_BLOCK):  # a process that starts inherits this
        return pool.submit(partial(_work_interruptibly, work), item)


def _work_interruptibly(work: Callable[[Item], Result], item: Item) -> Result:
    with _interrupts(signal.SIG_UNBLOCK):
        return work(item)


@contextlib.contextmanager
def _interrupts(how: int) -> Iterator[None]:
    """SIGINT blocked or let through in this block; what comes while it is blocked comes afterwards."""
    before = signal.pthread_sigmask(how, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usable_cores(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's limit of time (`--cpus`).

    Args:
        groups: where control groups of version 2 are mounted.
        own: file that names this process's group.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, StopIteration):
        group = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::")).strip("/")
        for folder in (groups / group, *(groups / group).parents):  # a limit holds for all groups below
            if not folder.is_relative_to(groups):
                break
            with contextlib.suppress(OSError, ValueError):
                quota, period = (folder / "cpu.max").read_text().split()  # "max 100000": int() refuses it
                cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def default_to_one_thread() -> None:
    """Let numpy and torch, which are imported after this, use one thread unless the environment says otherwise."""
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: after a kill, it would wait for work for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children that start in this block use one thread."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
