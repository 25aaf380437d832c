"""Workers that die at random: no batch is lost or answered twice, nobody has more than it may, and it ends."""

import random
from collections import deque
from concurrent.futures import Future
from concurrent.futures._base import DoneAndNotDoneFutures
from types import SimpleNamespace

import pytest

from imagpose.serving.bulk import BulkRequest, engines
from imagpose.serving.bulk.pool import WorkerPool
from imagpose.serving.bulk.requests import Batch, Task
from imagpose.serving.bulk.worker import Answer


class World:
    """Workers without processes; whenever the pool waits, some of them do the next thing that they have to do.

    Args:
        seed: of the moments.
        deadly: ids of requests that kill their worker.
        starts: how the first workers start, in their order: "ready" or the reason why not; later ones are ready.
    """

    def __init__(self, seed=0, deadly=(), starts=()):
        self.moments, self.deadly, self.starts = random.Random(seed), deadly, deque(starts)
        self.workers, self.most_load, self.most_alive = [], 0, 0

    def start(self):
        worker = Worker(self, self.starts.popleft() if self.starts else "ready")
        self.workers.append(worker)
        self.most_alive = max(self.most_alive, sum(not own.stopped for own in self.workers))
        return worker

    def wait(self, futures, return_when):
        assert futures and return_when == "FIRST_COMPLETED", "nothing would ever come"
        while not (done := {own for own in futures if own.done()}):
            for worker in self.workers:
                if worker.todo and self.moments.random() < 0.3:
                    worker.work()
        return DoneAndNotDoneFutures(done, set(futures) - done)


class Worker:
    def __init__(self, world, start):
        self.world, self.start, self.alive, self.stopped, self.todo = world, start, True, 0, deque()
        self.ready = self._promise(None)

    def answer(self, batch):
        others = [own for own in self.world.workers if own.alive and own.ready.done()]
        assert self.ready.done() and not self.stopped and len(self.todo) <= min(len(own.todo) for own in others)
        future = self._promise(batch)
        self.world.most_load = max(self.world.most_load, len(self.todo))
        return future

    def _promise(self, batch):
        future = Future()
        self.todo.append((future, batch))
        return future

    def work(self):
        future, batch = self.todo.popleft()
        ids = [] if batch is None else [task.request.id for task in batch.tasks]
        self.alive &= self.start == "ready" and not set(ids) & set(self.world.deadly)
        if not self.alive:
            future.set_exception(RuntimeError(f"a long story\n{'killed' if ids else self.start}\n"))
            while self.todo:  # with a process, all that it had fails at once
                self.todo.popleft()[0].set_exception(RuntimeError("killed"))
        else:
            future.set_result(None if batch is None else [Answer(own, "") for own in ids])

    def stop(self):
        self.stopped += 1


@pytest.fixture
def world(monkeypatch):
    def build(**given):
        built = World(**given)
        monkeypatch.setattr("imagpose.serving.bulk.pool.wait", built.wait)
        return built

    return build


def batches_of(count):
    return [Batch([Task(BulkRequest(f"{batch}.{own}", [], []), "") for own in range(2)], 2) for batch in range(count)]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_batch_is_answered_once_whoever_dies(world, count, depth):
    deadly = {f"{batch}.1" for batch in range(0, 40, 7)}
    for seed in range(20):
        here = world(seed=seed, deadly=deadly, starts=[*["ready"] * count, "killed"])
        pool = WorkerPool(here.start, count)
        answered = list(pool.answers(batches_of(40), depth))
        assert not any(own.alive and own.stopped for own in here.workers)
        pool.close()
        by_id = {own.id: own for answers in answered for own in answers}
        assert len(answered) == 40 and len(by_id) == 80 == sum(map(len, answered))
        failed = {name for name, own in by_id.items() if own.failed}
        assert deadly <= failed and len(failed) <= 2 * depth * len(deadly)
        assert all(by_id[name].again and "(killed)" in by_id[name].failed for name in failed)
        assert here.most_load == depth and here.most_alive == count
        assert [own.stopped for own in here.workers] == [1] * len(here.workers)


def test_workers_that_die_one_after_the_other_end_the_job(world):
    here = world(deadly={f"{batch}.0" for batch in range(9)})
    with pytest.raises(OSError, match="killed; run the command again"):
        list(WorkerPool(here.start, 2).answers(batches_of(9), depth=1))
    assert sum(not own.alive for own in here.workers) == 3 * 2 + 1


def test_answers_in_between_let_any_number_of_workers_die(world):
    here = world(deadly={f"{batch}.0" for batch in range(0, 40, 2)})
    assert len(list(WorkerPool(here.start, 1).answers(batches_of(40), depth=1))) == 40
    assert len(here.workers) == 20 + 1


def test_only_the_first_worker_that_cannot_start_ends_the_job(world):
    here = world(starts=["no such model"])
    with pytest.raises(ValueError, match=r"^a worker could not start: no such model$"):
        list(WorkerPool(here.start, 1).answers(batches_of(3), depth=1))
    here = world(deadly={"0.0"}, starts=["ready", "no such model"])
    pool = WorkerPool(here.start, 1)
    assert [own[0].failed is None for own in pool.answers(batches_of(3), depth=1)] == [False, True, True]


def test_no_more_workers_start_than_there_are_batches_and_a_later_round_has_the_same(world):
    here = world()
    pool = WorkerPool(here.start, 5)
    assert len(list(pool.answers(batches_of(2), depth=2))) == 2 and len(here.workers) <= 2
    for _ in range(3):
        assert len(list(pool.answers(batches_of(30), depth=2))) == 30
    assert len(here.workers) == 5


@pytest.mark.parametrize("engine", [engines.LocalEngine(2), engines.RayEngine(2)], ids=["local", "ray"])
def test_requests_that_are_tried_alone_have_none_behind_them(world, monkeypatch, engine):
    here = world()
    monkeypatch.setattr(engines, "_ProcessWorker", lambda _: here.start())
    monkeypatch.setattr(engines, "_Actor", lambda *_: here.start())
    monkeypatch.setattr(engines, "_import_ray", lambda: SimpleNamespace(remote=lambda **_: lambda kind: kind))
    assert len(list(engine.answers(None, batches_of(9), alone=True))) == 9 and here.most_load == 1
    assert len(list(engine.answers(None, batches_of(9), alone=False))) == 9 and here.most_load == 2
    engine.close()
    assert [own.stopped for own in here.workers] == [1, 1]
