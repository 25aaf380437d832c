"""The line of requests: order, room, cancelling, and what becomes of jobs that nobody waits for."""

from __future__ import annotations

import threading

import pytest

from imagpose.serving.web import desk as desk_module
from imagpose.serving.web.desk import BusyError, CancelledError, Desk


@pytest.fixture
def desk():
    made = Desk(waiting=2)
    yield made
    made.close()


class Gate:
    """Work that says when it has begun, and ends when it is let through."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, job) -> str:
        self.begun.set()
        while not self.open.wait(0.005):
            job.check()
        return "made"


def test_one_at_a_time_in_the_order_they_came(desk):
    gate, done = Gate(), []
    first = desk.submit(gate)
    others = [desk.submit(lambda job, number=number: done.append(number) or number) for number in (1, 2)]
    gate.begun.wait()
    assert [desk.place(job) for job in (first, *others)] == [0, 1, 2]
    assert [job.state for job in (first, *others)] == ["running", "waiting", "waiting"] and not done
    gate.open.set()
    for job in (first, *others):
        assert job.ended.wait(5)
    assert done == [1, 2] and [job.result for job in (first, *others)] == ["made", 1, 2]


def test_who_finds_no_room_is_told_so_and_room_comes_back(desk):
    gate = Gate()
    jobs = [desk.submit(gate) for _ in range(3)]
    with pytest.raises(BusyError, match="2 requests are waiting"):
        desk.submit(gate)
    gate.open.set()
    assert all(job.ended.wait(5) for job in jobs)
    assert desk.submit(gate).ended.wait(5)


def test_one_that_waits_is_one_request():
    desk, gate = Desk(waiting=1), Gate()
    for _ in range(2):
        desk.submit(gate)
    with pytest.raises(BusyError, match="^busy: 1 request is waiting already"):
        desk.submit(gate)
    desk.close()


def test_a_cancelled_job_ends_whether_it_runs_or_waits_and_the_next_one_runs(desk):
    running, last = Gate(), Gate()
    last.open.set()
    first, second, third = desk.submit(running), desk.submit(Gate()), desk.submit(last)
    running.begun.wait()
    assert desk.cancel(second.token) and second.ended.is_set() and second.state == "cancelled"
    assert desk.place(third) == 1  # the waiting one left the line
    assert desk.cancel(first.token) and first.ended.wait(5) and first.state == "cancelled"
    assert third.ended.wait(5) and third.state == "done"
    assert not desk.cancel(first.token) and not desk.cancel("somebody else's")


def test_a_failure_is_kept_and_does_not_stop_the_line(desk):
    def fail(job):
        raise ValueError("no such pose")

    failed = desk.submit(fail)
    assert failed.ended.wait(5) and failed.state == "failed" and str(failed.error) == "no such pose"
    assert desk.submit(lambda job: 1).ended.wait(5)


def test_a_job_that_nobody_looks_at_ends(desk, monkeypatch):
    gate = Gate()
    job = desk.submit(gate)
    gate.begun.wait()
    monkeypatch.setattr(desk_module, "_PATIENCE", 0.2)
    for _ in range(5):
        job.look()
        assert not job.ended.wait(0.06)
    assert job.ended.wait(5) and job.state == "cancelled"


def test_closing_ends_everything():
    desk, gate = Desk(waiting=2), Gate()
    jobs = [desk.submit(gate), desk.submit(gate)]
    gate.begun.wait()
    desk.close()
    assert [job.state for job in jobs] == ["cancelled", "cancelled"]


def test_tokens_cannot_be_guessed(desk):
    tokens = {desk.submit(lambda job: None).token for _ in range(3)}
    assert len(tokens) == 3 and all(len(token) >= 20 for token in tokens)
    assert issubclass(BusyError, ValueError) and not issubclass(CancelledError, ValueError)
