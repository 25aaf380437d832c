"""`imagpose evaluate images` in processes of its own, one of which is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAIRS = 96  # three parts


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for role in ("generated", "reference"):
        (tmp_path / role).mkdir()
        for number in range(PAIRS):
            pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / role / f"{number}.png")
    return tmp_path


def start(folders: Path, out: str, slowly: bool = False) -> subprocess.Popen[str]:
    """The command; `slowly`, it takes a second per part."""
    slower = "import time; old = parts.in_order; parts.in_order = lambda *a: (time.sleep(1) or one for one in old(*a));"
    code = f"from imagpose.evaluation import parts; {slower if slowly else ''} from imagpose.cli import main; main()"
    options = ("--generated", "generated", "--reference", "reference", "--out", out, "--workers", "1")
    return subprocess.Popen(
        [sys.executable, "-c", code, "evaluate", "images", *options],
        cwd=folders, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_a_killed_run_continues(folders: Path) -> None:
    parts = folders / "out" / "parts"
    killed = start(folders, "out", slowly=True)
    deadline = time.monotonic() + 60
    while not list(parts.glob("*.npy")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.npy")}
    assert 1 <= len(before) < 6
    assert not (folders / "out" / "summary.json").exists()
    continued, whole = start(folders, "out"), start(folders, "whole")
    tables = [process.communicate(timeout=120)[0].splitlines()[:-1] for process in (continued, whole)]
    assert continued.returncode == whole.returncode == 0
    assert tables[0] == tables[1] and tables[0][0] == "| metric | clean | field |"
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing finished was computed again
    rows = [json.loads((folders / name / "summary.json").read_text())["rows"] for name in ("out", "whole")]
    assert rows[0] == rows[1]


def test_folders_that_do_not_match_are_one_line(folders: Path) -> None:
    (folders / "generated" / "7.png").rename(folders / "generated" / "seven.png")
    process = start(folders, "out")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2 and len(error.strip().splitlines()) == 1
    assert "without a generated picture: 1 (7), generated pictures without a reference: 1 (seven)" in error
    assert not (folders / "out").exists()
