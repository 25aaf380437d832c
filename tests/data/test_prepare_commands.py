"""`imagpose prepare` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_people import write_tree


def test_folder_counts_skips_continues_and_verifies(tmp_path: Path, run) -> None:
    root, out = write_tree(tmp_path / "raw", {"anna": 2, "ben": 2}), tmp_path / "set"
    (root / "ben" / "1.png").write_bytes(b"damaged")
    stopped = run("prepare", "folder", "--pictures", root, "--out", out, "--workers", 1, "--strict")
    assert stopped.code == 2
    lines = stopped.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ben/1.png: not a picture")
    made = run("prepare", "folder", "--pictures", root, "--out", out, "--workers", 1)
    assert made.code == 0, made.err
    summary = "3 pictures of 2 identities (train 3 of 2); 1 skipped, see problems.csv"
    assert f"{out}: {summary}" in made.out
    assert summary in run("prepare", "check", out).out
    other = run("prepare", "folder", "--pictures", root, "--out", out, "--size", "64x48")
    assert other.code == 2 and "size null, not [64, 48]" in other.err


def test_people_are_rendered_into_a_data_set(tmp_path: Path, run) -> None:
    made = run(
        "prepare",
        "people",
        "--seed",
        1_000_001,
        "--views",
        2,
        "--size",
        "48x32",
        "--workers",
        1,
        "--out",
        tmp_path / "set",
    )
    assert made.code == 0, made.err
    assert "2 pictures of 1 identities (validation 2 of 1); none skipped" in made.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("folder", "--pictures", "raw", "--out", "set", "--size", "big"), ("'big'", "256x176")),
        (("folder", "--pictures", "absent", "--out", "set"), ("not found", "absent")),
        (("check", "raw"), ("no finished data set", "info.json")),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    write_tree(tmp_path / "raw", {"anna": 1})
    ended = run("prepare", *(tmp_path / word if word in ("raw", "absent", "set") else word for word in arguments))
    assert ended.code == 2
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words)
    assert not (tmp_path / "set").exists()
