"""A running page with the tiny model, and its person in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagpose.pose import to_openpose
from imagpose.serving.web.limits import Limits
from tiny_pipeline import build_pipeline, picture, pipeline, pose, seeded

__all__ = ["build_pipeline", "picture", "pipeline", "pose", "seeded"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, build_pipeline) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    build_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def served(tiny_model):
    """The page, as Gradio's Blocks; two may wait, steps are limited."""
    pytest.importorskip("gradio", reason="needs the extra web")
    from imagpose.serving.web.server import Address, open_page

    with open_page(Address(port=0), [tiny_model], Limits(waiting=2, file_bytes=200_000), "cpu") as page:
        yield page


@pytest.fixture
def photo(tmp_path: Path, picture) -> Path:
    path = tmp_path / "photo.png"
    picture(0).save(path)
    return path


@pytest.fixture
def pose_json(pose):
    """A function from a seed to a pose as a page sends it."""
    return lambda seed: to_openpose(pose(seed))


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    """Whether a machine has the detector's networks decides nothing here."""
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)
