"""`imagpose prepare` as a user meets it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_people import write_tree


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", "from imagpose.cli import main; main()", "prepare", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["folder", "people", "check"])
def test_help_shows_an_example(command: str) -> None:
    shown = run(command, "--help")
    assert shown.returncode == 0
    assert f"Example: imagpose prepare {command} " in " ".join(shown.stdout.split())


def test_folder_counts_skips_continues_and_verifies(tmp_path: Path) -> None:
    root, out = write_tree(tmp_path / "raw", {"anna": 2, "ben": 2}), tmp_path / "set"
    (root / "ben" / "1.png").write_bytes(b"damaged")
    stopped = run("folder", "--pictures", root, "--out", out, "--workers", 1, "--strict")
    assert stopped.returncode == 2
    lines = stopped.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ben/1.png: not a picture")
    made = run("folder", "--pictures", root, "--out", out, "--workers", 1)
    assert made.returncode == 0, made.stderr
    summary = "3 pictures of 2 identities (train 3 of 2); 1 skipped, see problems.csv"
    assert f"{out}: {summary}" in made.stdout
    assert summary in run("check", out).stdout
    other = run("folder", "--pictures", root, "--out", out, "--size", "64x48")
    assert other.returncode == 2 and "size null, not [64, 48]" in other.stderr


def test_people_are_rendered_into_a_data_set(tmp_path: Path) -> None:
    made = run(
        "people", "--seed", 1_000_001, "--views", 2, "--size", "48x32", "--workers", 1, "--out", tmp_path / "set"
    )
    assert made.returncode == 0, made.stderr
    assert "2 pictures of 1 identities (validation 2 of 1); none skipped" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("folder", "--pictures", "raw", "--out", "set", "--size", "big"), ("'big'", "256x176")),
        (("folder", "--pictures", "absent", "--out", "set"), ("not found", "absent")),
        (("check", "raw"), ("no finished data set", "info.json")),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    write_tree(tmp_path / "raw", {"anna": 1})
    ended = run(*(tmp_path / word if word in ("raw", "absent", "set") else word for word in arguments))
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words)
    assert not (tmp_path / "set").exists()
