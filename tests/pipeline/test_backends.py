"""What evaluates the UNet: chosen by the work and by what is installed, exact in its values, and torch where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imagpose.models import exported
from imagpose.pipeline.backends import Backend, Work
from imagpose.pipeline.loading import check_backend, load_pipeline
from imagpose.views import ViewGrid

GRID = ViewGrid(2, 2)


def work(canvases: int = 4) -> Work:
    return Work(canvases, (8, 4), 5, GRID)


@pytest.fixture
def installed(monkeypatch):
    """Whether OpenVINO is, and how large the work is compared with what pays."""

    def set_up(yes: bool, stored: bool = False) -> None:
        monkeypatch.setattr(exported, "is_installed", lambda: yes)
        monkeypatch.setattr(exported.ExportedUNet, "__init__", lambda self, unet: None)
        monkeypatch.setattr(exported.ExportedUNet, "is_stored", lambda self, *_: stored)

    return set_up


@pytest.mark.parametrize(
    ("asked", "yes", "stored", "times", "expected"),
    [
        ("torch", True, True, 10.0, "torch"),
        ("auto", False, True, 10.0, "torch"),
        ("auto", True, False, 0.9, "torch"),
        ("auto", True, False, 1.1, "openvino"),
        ("auto", True, True, 0.2, "openvino"),
        ("auto", True, True, 0.05, "torch"),
        ("openvino", True, False, 0.0001, "openvino"),
    ],
)
def test_the_choice(pipeline, installed, monkeypatch, asked, yes, stored, times, expected):
    installed(yes, stored)
    size = work().size(pipeline.unet)
    monkeypatch.setattr("imagpose.pipeline.backends._WORTH_EXPORT", size / times)
    monkeypatch.setattr("imagpose.pipeline.backends._WORTH_READING", size / times / 10)
    backend = Backend(asked)
    backend.choose(pipeline.unet, work())
    assert backend.record() == {"asked": asked, "used": [expected]}


@pytest.mark.parametrize("asked", ["auto", "torch", "compile", "openvino"])
def test_where_features_are_kept_torch_evaluates(pipeline, installed, asked):
    installed(True)
    backend, large = Backend(asked), replace(work(10**12), keeps_features=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert backend.choose(pipeline.unet, large) is pipeline.unet
    assert backend.record() == {"asked": asked, "used": ["torch"]}
    assert ["features_every" in str(own.message) for own in said] == [True] * (asked in ("compile", "openvino"))
    backend.choose(pipeline.unet, work(10**12))  # without them it is what was asked for again
    assert backend.used[-1] == {"auto": "openvino"}.get(asked, asked)


def test_nothing_is_exported_for_canvases_on_a_gpu(pipeline, installed):
    installed(True, stored=True)
    backend = Backend("auto")
    assert backend.choose(pipeline.unet, replace(work(10**12), device="cuda")) is pipeline.unet
    assert backend.choose(pipeline.unet, work(10**12)) is not pipeline.unet


def test_work_grows_with_all_that_is_asked(pipeline):
    unet = pipeline.unet
    assert work(8).size(unet) == 2 * work(4).size(unet) == 2 * 4 * 8 * 4 * sum(own.numel() for own in unet.parameters())


def test_what_cannot_be_used_is_said_once_and_torch_is_used(pipeline, installed):
    installed(False)
    backend = Backend("openvino")
    with pytest.warns(UserWarning, match="backend openvino is not used, torch is: the extra openvino is not installed"):
        assert backend.choose(pipeline.unet, work()) is pipeline.unet
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.choose(pipeline.unet, work()) is pipeline.unet
    assert backend.record() == {"asked": "openvino", "used": ["torch"]}


def test_a_program_that_fails_gives_way_to_torch(pipeline, installed, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no C++\ncompiler")

    monkeypatch.setattr(torch, "compile", lambda unet, dynamic: fail)
    backend = Backend("compile")
    evaluate = backend.choose(pipeline.unet, work())
    monkeypatch.setattr(type(pipeline.unet), "forward", lambda self, value: (value,))
    with pytest.warns(UserWarning, match="backend compile is not used, torch is: no C\\+\\+ compiler"):
        assert evaluate(3) == (3,)
    assert evaluate(4) == (4,) and backend.record()["used"] == ["compile", "torch"]
    assert backend.choose(pipeline.unet, work()) is pipeline.unet


def test_a_unet_that_computes_something_else_is_not_exported(pipeline, installed):
    installed(True)
    pipeline.unet.enable_freeu(0.9, 0.2, 1.2, 1.4)
    with pytest.warns(UserWarning, match="FreeU is on"):
        assert Backend("openvino").choose(pipeline.unet, work()) is pipeline.unet


@pytest.mark.parametrize(("name", "device"), [("onnx", "cpu"), ("openvino", "cuda")])
def test_illegal_backends_are_refused(name, device):
    with pytest.raises(ValueError, match="expected"):
        check_backend(name, device)


def test_a_loaded_pipeline_asks_its_backend(pipeline, tmp_path, picture, pose, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    loaded = load_pipeline(str(tmp_path), device="cpu", backend="torch")
    asked = []
    monkeypatch.setattr(Backend, "choose", lambda self, unet, own: asked.append(own) or unet)
    loaded([picture(0)], [pose(0)], num_inference_steps=5, guidance_interval=(0.0, 0.5))
    (own,) = asked
    guided = sum(t / 1000 <= 0.5 for t in loaded.scheduler.timesteps.tolist())
    assert 0 < guided < 5 and own.canvases == 5 + guided
    assert own.canvas == (8, 4) and own.grid == GRID


def test_the_cache_is_bounded_and_removes_only_its_own(tmp_path):
    names = [f"{number:032x}" for number in range(4)]
    for age, name in zip((3, 1, 4, 2), names, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "network.xml").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "network.xml").write_bytes(bytes(1000))
    exported._make_room(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {names[1], names[3], "notes"}


@pytest.mark.skipif(not exported.is_installed(), reason="needs the extra openvino")
def test_openvino_in_a_process_of_its_own():
    """`openvino_programs.py`. Where a program leaves its process without a stack for signals, only that one dies."""
    cases = Path(__file__).with_name("openvino_programs.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
