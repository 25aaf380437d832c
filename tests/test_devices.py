"""Which device is chosen, on machines that have others than this one; and that nothing else chooses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from imagpose.devices import choose_device
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline

ROOT = Path(__file__).parents[1]


@pytest.fixture
def machine(monkeypatch):
    """A function that gives this machine so many CUDA GPUs, and one of Apple's or none."""

    def has(cuda: int = 0, apple: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    return has


@pytest.mark.parametrize(
    ("cuda", "apple", "chosen", "there"),
    [
        (0, False, "cpu", {"cpu"}),
        (0, True, "cpu", {"cpu", "mps"}),
        (1, False, "cuda", {"cpu", "cuda", "cuda:0"}),
        (2, False, "cuda", {"cpu", "cuda", "cuda:0", "cuda:1"}),
    ],
)
def test_what_a_machine_has_is_chosen(machine, cuda, apple, chosen, there):
    machine(cuda, apple)
    assert choose_device() == chosen
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        if name in there:
            assert choose_device(name) == name
        else:
            with pytest.raises(ValueError, match=f"device '{name}': this machine has {cuda if 'cuda' in name else 0}"):
                choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "mps:0", "cpu:0", "cuda:", "cuda:-1", "cuda:one", "", "CUDA"])
def test_other_names_are_refused_on_every_machine(machine, name):
    machine(cuda=2, apple=True)
    with pytest.raises(ValueError, match="one of cuda, mps, cpu"):
        choose_device(name)


def test_a_pipeline_is_moved_to_the_device_that_is_asked_for(machine, monkeypatch):
    machine(apple=True)
    places = []
    monkeypatch.setattr(IMAGPosePipeline, "to", lambda self, place: places.append(place) or self)
    for asked in ("mps", None):
        load_pipeline("mini", device=asked, dtype="fp32", backend="torch")
    assert places == ["mps", "cpu"]
    with pytest.raises(ValueError, match="this machine has 0 of this kind"):
        load_pipeline("mini", device="cuda", backend="torch")
    with pytest.raises(ValueError, match="openvino is for the CPU, not for mps"):
        load_pipeline("mini", device="mps", backend="openvino")


def test_nothing_else_chooses_a_device():
    """Elsewhere code may ask what a device is; it never looks for one, nor lets Accelerate do so."""
    looks = re.compile(r"(cuda|mps)\.is_available|PartialState\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "comfyui")
        for path in (ROOT / folder).rglob("*.py")
        if looks.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"src/imagpose/devices.py"}
