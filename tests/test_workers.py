import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from imagpose.workers import WorkerProcess, in_order, usable_cores


def slow_when_even(number: int) -> tuple[int, int, str | None]:
    time.sleep(0.2 if number % 2 == 0 else 0)
    return number, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def kill_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return fail_at_two(number + 1) - 1


def test_results_come_in_the_items_order_from_other_processes_of_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    results = list(in_order(slow_when_even, range(5), 2))
    assert [number for number, _, _ in results] == [0, 1, 2, 3, 4]
    assert os.getpid() not in {process for _, process, _ in results}
    assert {threads for _, _, threads in results} == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_one_worker_is_this_process_and_takes_items_one_by_one():
    taken = []

    def items():
        for number in range(3):
            taken.append(number)
            yield number

    results = in_order(lambda number: (number, os.getpid()), items(), 1)
    assert next(results) == (0, os.getpid()) and taken == [0]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_an_item_comes_after_the_results_before_it(workers):
    results = in_order(fail_at_two, range(4), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_a_process_that_dies_fails_what_it_has_and_gets_and_no_other():
    process, other = WorkerProcess(), WorkerProcess()
    answers = [process.submit(kill_at_two, number) for number in range(5)]
    assert answers[0].result() == 0 and isinstance(answers[1].exception(), ValueError)
    assert [type(own.exception()) for own in answers[2:]] == [BrokenProcessPool] * 3
    assert isinstance(process.submit(kill_at_two, 0).exception(), BrokenProcessPool)
    number, own, threads = other.submit(slow_when_even, 1).result()
    assert number == 1 and own != os.getpid() and threads == "1"
    process.close()
    other.close()
    with pytest.raises(ProcessLookupError):
        os.kill(own, 0)


def test_threads_are_limited_before_numpy_and_not_against_the_environment():
    code = "import sys, os, imagpose.workers as w; assert 'numpy' not in sys.modules; w.default_to_one_thread();"
    code += "print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["MKL_NUM_THREADS"] = "3"
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["1", "3"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 4),
        ({"": "max 100000"}, 4),
        ({"": "150000 100000"}, 2),
        ({"box/own": "50000 100000"}, 1),
        ({"box": "300000 100000", "box/own": "max 100000"}, 3),
        ({"other": "100000 100000"}, 4),
    ],
)
def test_usable_cores_are_bounded_by_affinity_and_by_the_limits_of_control_groups(
    tmp_path, monkeypatch, limits, expected
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5})
    for folder, text in limits.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(f"{text}\n")
    own = tmp_path / "own"
    assert usable_cores(tmp_path, own) == 4  # no control groups
    own.write_text("1:name=x:/elsewhere\n0::/box/own\n")
    assert usable_cores(tmp_path, own) == expected
