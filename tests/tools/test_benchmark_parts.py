"""What benchmarks count and compare: cores that a metric keeps busy, first calls, few steps against the paper's."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_work_of_one_thread_keeps_one_core_busy_and_waiting_none():
    import evaluate_images

    times = defaultdict(lambda: np.zeros(3))
    run = evaluate_images.timed(times, 2, lambda seconds: (busy(seconds), time.sleep(seconds)), lambda seconds: "work")
    run(0.1)
    run(0.1)
    wall, processor, in_a_row = times["work"]
    assert list(times) == ["work"] and wall >= 0.4
    assert in_a_row == pytest.approx(0.2, abs=0.05) and processor / in_a_row == pytest.approx(1, abs=0.2)


def test_work_shared_by_two_processes_counts_half_in_a_row(monkeypatch):
    import evaluate_images

    children = iter([0.0, 10.0])

    def usage(who):
        return SimpleNamespace(ru_utime=next(children), ru_stime=0.0)

    monkeypatch.setattr(evaluate_images.resource, "getrusage", usage)
    times = defaultdict(lambda: np.zeros(3))
    evaluate_images.timed(times, 2, lambda: None, lambda: "work")()
    _, processor, in_a_row = times["work"]
    assert processor == pytest.approx(10, abs=0.1) and in_a_row == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(("own", "named"), [(1.0, "no guidance"), (3.0, "guidance 3")])
def test_few_steps_are_compared_with_the_papers_twenty_under_guidance(own, named):
    import speed_against_quality

    pipeline = SimpleNamespace(config=SimpleNamespace(default_guidance_scale=own))
    first, *others = speed_against_quality.fewer_steps([1, 4], pipeline).items()
    assert first[1][0] == {"num_inference_steps": 20, "guidance_scale": 2.0}
    assert [(name, way[0]) for name, way in others] == [
        (f"steps: 1, {named}", {"num_inference_steps": 1}),
        (f"steps: 4, {named}", {"num_inference_steps": 4}),
    ]


def test_what_is_compiled_is_compiled_from_nothing_and_what_was_there_is_left_alone(monkeypatch):
    import unet_speed

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    folders = []

    def compile_here(unet, dynamic):
        def call(**inputs):
            folders.append(os.environ["TORCHINDUCTOR_CACHE_DIR"])
            assert not list(Path(folders[-1]).iterdir())
            return (torch.ones(1),)

        return call

    monkeypatch.setattr(torch, "compile", compile_here)
    with unet_speed.compiled(None, {}) as run:
        assert run() == 1
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine" and not Path(folders[0]).exists()


def test_the_first_call_counts_what_comes_before_it(monkeypatch, capsys):
    import unet_speed

    calls = []

    def slow(unet, inputs):
        time.sleep(0.3)
        return lambda: (calls.append(1), torch.ones(1))[1]

    class Way:
        def __init__(self, unet, inputs):
            self.run = slow(unet, inputs)

        def __enter__(self):
            return self.run

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(unet_speed, "WAYS", {"slow to start": Way})
    monkeypatch.setattr(unet_speed, "build", lambda preset: SimpleNamespace(unet=torch.nn.Linear(1, 1)))
    monkeypatch.setattr(unet_speed, "make_inputs", lambda *_: {})
    monkeypatch.setattr(unet_speed, "plain", lambda *_: lambda: torch.ones(1))
    monkeypatch.setattr(sys, "argv", ["unet_speed.py", "--threads", "1"])
    unet_speed.main()
    cells = capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]
    assert [cell.strip() for cell in cells[:1]] == ["slow to start"] and len(cells) == 6
    assert float(cells[1]) < 0.1 <= 0.3 <= float(cells[5]) < 5
    assert len(calls) == 1 + 1 + 3
