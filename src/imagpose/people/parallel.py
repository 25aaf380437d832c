"""Renders many identities on all cores and hands their views over in memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from imagpose.people.identity import make_identity
from imagpose.people.scene import View, render_view, sample_view_specs

__all__ = ["in_order", "iterate_views", "render_identity"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_AHEAD = 4  # identities rendered in advance per worker, so that a slow consumer does not fill the memory
Item = TypeVar("Item")
Result = TypeVar("Result")


def iterate_views(
    seeds: Iterable[int],
    views: int,
    height: int,
    width: int,
    workers: int | None = None,
    world: str = "studio",
    style: str | None = None,
) -> Iterator[tuple[int, list[View]]]:
    """Render identities in memory, in the order of the seeds, whatever the number of workers.

    Args:
        seeds: identity seeds.
        views: views per identity, at least 1.
        height, width: pixels of a view.
        workers: processes; None for one per core, 1 renders in this process.
        world, style: see `scene.sample_view_specs`.

    Yields:
        The seed and its views.
    """
    work = partial(render_identity, views=views, height=height, width=width, world=world, style=style)
    yield from in_order(work, seeds, workers)


def render_identity(
    seed: int, views: int, height: int, width: int, world: str = "studio", style: str | None = None
) -> tuple[int, list[View]]:
    """The seed and the first `views` views of its identity, see `scene.sample_view_specs`."""
    identity = make_identity(seed)
    return seed, [render_view(identity, spec, height, width) for spec in sample_view_specs(seed, views, world, style)]


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None
) -> Generator[Result, None, None]:
    """`work` of each item, in the items' order, in `workers` fresh processes of one thread each."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(work, items)
        return
    pending: deque[Future[Result]] = deque()
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


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
    """Children that start in this block use one thread: several per process are many times slower on shared cores."""
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
