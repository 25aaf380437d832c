"""Pictures of four makers and their sources, and a study of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from study_pieces import MAKERS, SIZE, SMALL, methods_of

from imagpose.evaluation.study.build import build_study


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Ten places; the colour of a picture says who made it and which place it shows, and so does its metadata."""
    made = {}
    for number, name in enumerate(MAKERS):
        folder = made[name] = tmp_path / name
        folder.mkdir()
        for place in range(10):
            text = PngImagePlugin.PngInfo()
            text.add_text("Software", f"made by {name}")
            size = SIZE if name != "sources" else (40, 32)
            Image.new("RGB", size, (40 * number, 20 * place, 100)).save(folder / f"place-{place}.png", pnginfo=text)
    return made


@pytest.fixture
def study(folders: dict[str, Path], tmp_path: Path) -> Path:
    methods = methods_of(folders, "ours", "theirs", "third")
    build_study(folders["real"], methods, tmp_path / "study", SMALL, sources=folders["sources"])
    return tmp_path / "study"
