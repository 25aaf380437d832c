"""`tools/train_mini.sh` with a stand-in for the interpreter, which notes what it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "tools" / "train_mini.sh"
STAGES = [
    *("autoencoder", "autoencoder-finish", "encoder", "pose-estimator", "silhouette", "identity", "appearance-flow"),
    "denoiser",
]


@pytest.fixture
def start(tmp_path: Path):
    """Start the script; each stage is done by the lines of bash that are given."""

    def started(stage: str) -> subprocess.Popen:
        interpreter = tmp_path / "python"
        interpreter.write_text(f'#!/usr/bin/env bash\necho "$@" >> {tmp_path}/asked\n{stage}\n')
        interpreter.chmod(0o755)
        environment = {"PYTHON": str(interpreter), "IMAGPOSE_RUNS": str(tmp_path / "runs"), "IMAGPOSE_THREADS": "3"}
        return subprocess.Popen(
            [str(SCRIPT)], env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return started


def asked(tmp_path: Path) -> list[list[str]]:
    path = tmp_path / "asked"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_all_stages_one_after_another_in_the_given_folder(start, tmp_path: Path) -> None:
    process = start("exit 0")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and f"finished: {tmp_path}/runs/denoiser/weights" in output
    calls = asked(tmp_path)
    assert [call[3] for call in calls] == STAGES
    for call in calls:
        assert call[:3] == ["-m", "imagpose", "train"]
        config = Path(call[call.index("--config") + 1])
        assert call[-3:] == ["--resume", "latest", "threads=3"]
        assert yaml.safe_load(config.read_text())["output"].startswith(str(tmp_path / "runs"))
        assert "runs/mini" not in config.read_text()


def test_a_stage_that_fails_ends_the_chain(start, tmp_path: Path) -> None:
    process = start('[ "$4" = autoencoder-finish ] && exit 3; exit 0')
    assert "autoencoder-finish failed with status 3" in process.communicate(timeout=120)[0]
    assert process.returncode == 3
    assert [call[3] for call in asked(tmp_path)] == STAGES[:2]


@pytest.mark.parametrize("status", [0, 143])
def test_a_signal_is_passed_on_and_the_stages_end_awaited(start, tmp_path: Path, status: int) -> None:
    saved = tmp_path / "saved"
    process = start(f"trap 'sleep 0.4; touch {saved}; exit {status}' TERM; while :; do sleep 0.05; done")
    until = time.monotonic() + 20
    while not asked(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # a second one shortens nothing
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and saved.exists() and "stopped; the same command goes on" in output
    assert len(asked(tmp_path)) == 1
