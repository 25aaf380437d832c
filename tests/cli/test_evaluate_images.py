"""`imagpose evaluate images` in a process that is killed, and in one that continues."""

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


def start(folders: Path, out: str = "out", slowly: bool = False) -> subprocess.Popen[str]:
    """The command; `slowly`, it takes a second per part."""
    slower = "import time; old = store.in_order; store.in_order = lambda *a: (time.sleep(1) or one for one in old(*a));"
    code = f"from imagpose.evaluation import store; {slower if slowly else ''} from imagpose.cli import main; main()"
    options = ("--generated", "generated", "--reference", "reference", "--out", out, "--workers", "1")
    return subprocess.Popen(
        [sys.executable, "-c", code, "evaluate", "images", *options],
        cwd=folders, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_a_killed_run_continues(folders: Path) -> None:
    parts = folders / "out" / "parts"
    killed = start(folders, slowly=True)
    deadline = time.monotonic() + 60
    while not list(parts.glob("*.npy")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.npy")}
    assert 1 <= len(before) < 6
    assert not (folders / "out" / "summary.json").exists()
    continued = start(folders)
    printed, error = continued.communicate(timeout=120)
    assert continued.returncode == 0, error
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing finished was computed again
    whole, error = start(folders, "whole").communicate(timeout=120)
    assert printed == whole.replace("whole/", "out/") and printed.startswith("| metric | clean | field |"), error
    rows = [json.loads((folders / name / "summary.json").read_text())["rows"] for name in ("out", "whole")]
    assert rows[0] == rows[1]
