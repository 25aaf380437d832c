"""The machinery: continued after kill -9 with the same bytes, problems listed, other settings refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_people import contents, make_small, small_people

from imagpose.data import rendered
from imagpose.data.info import read_info, verify_dataset
from imagpose.data.notes import Problem
from imagpose.data.prepare import Person, write_dataset
from waiting import wait_until

COUNTS = [2, 3, 1, 2, 2, 2, 3]
SETTINGS = {"size": (40, 24)}
# Run by another interpreter; the people hang at the identity that the environment names.
SCRIPT = f"""
from small_people import make_small, small_people
from imagpose.data.prepare import write_dataset
if __name__ == "__main__":
    import sys
    write_dataset(sys.argv[1], small_people({COUNTS}), make_small, {SETTINGS}, workers=int(sys.argv[2]), views_per_shard=4)
"""


def prepare(folder: Path, **changes) -> None:
    options = {"workers": 1, "views_per_shard": 4} | changes
    write_dataset(folder, options.pop("people", small_people(COUNTS)), make_small, SETTINGS, **options)


def start(folder: Path, script: Path, workers: int, hang_at: str) -> subprocess.Popen:
    """Begin in another process, and wait until it hangs."""
    script.write_text(SCRIPT)
    hangs = script.with_suffix(".hangs")
    environment = os.environ | {
        "HANG_AT": hang_at, "HANGS": str(hangs), "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(workers)], env=environment, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: hangs.exists() or process.poll() is not None)
    assert process.poll() is None
    return process


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_in_the_middle_it_continues_with_the_same_bytes(tmp_path: Path) -> None:
    """Shards are 0 1 | 2 3 4 | 5 6: the kill comes in the second, the first is not made again."""
    process = start(tmp_path / "killed", tmp_path / "script.py", workers=1, hang_at="4")
    kill(process)
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert "info.json" not in names and "train-00000-of-00003.parquet" in names
    assert [name for name in names if name.endswith(".partial")] and "train-00001-of-00003.parquet" not in names
    first = (tmp_path / "killed" / "train-00000-of-00003.parquet").stat().st_mtime_ns
    prepare(tmp_path / "killed")
    prepare(tmp_path / "at_once")
    assert contents(tmp_path / "killed") == contents(tmp_path / "at_once")
    assert (tmp_path / "killed" / "train-00000-of-00003.parquet").stat().st_mtime_ns == first
    verify_dataset(tmp_path / "killed")


def test_workers_end_with_a_killed_run_and_change_no_byte(tmp_path: Path) -> None:
    """Two shards come from two workers, the last from this process."""
    process = start(tmp_path / "killed", tmp_path / "script.py", workers=2, hang_at="6")
    wait_until((tmp_path / "killed" / "preparing" / "train-00001-of-00003.parquet.json").exists)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    kill(process)
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    prepare(tmp_path / "killed")
    prepare(tmp_path / "at_once")
    assert contents(tmp_path / "killed") == contents(tmp_path / "at_once")


def test_a_shard_that_lost_bytes_before_the_end_is_made_again(tmp_path: Path) -> None:
    process = start(tmp_path / "killed", tmp_path / "script.py", workers=1, hang_at="6")
    kill(process)
    shard = tmp_path / "killed" / "train-00000-of-00003.parquet"
    shard.write_bytes(shard.read_bytes()[:-7])
    prepare(tmp_path / "killed")
    prepare(tmp_path / "at_once")
    assert contents(tmp_path / "killed") == contents(tmp_path / "at_once")


def test_finished_is_left_alone(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepare(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_counts_and_problems(tmp_path: Path) -> None:
    people = [*small_people([2, 10]), *small_people([3], "test", first=7), Person("8", "test", (9,))]
    known = [Problem("loose.png", "outside, of everything"), Problem("x.png", "two people", skipped=False)]
    info = write_dataset(tmp_path, people, make_small, SETTINGS, problems=known, workers=1)
    assert (info.pictures, info.identities, info.skipped) == (14, 3, 3)
    counts = {name: (split.pictures, split.identities) for name, split in info.splits.items()}
    assert counts == {"train": (11, 2), "test": (3, 1)}
    assert info.summary() == ("14 pictures of 3 identities (train 11 of 2, test 3 of 1); 3 skipped, see problems.csv")
    with (tmp_path / "problems.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "problem", "skipped"],
            ["loose.png", "outside, of everything", "yes"],
            ["x.png", "two people", "no"],
            ["1/9.png", "damaged", "yes"],
            ["8/9.png", "damaged", "yes"],
        ]
    assert read_info(tmp_path) == info


def test_strict_stops_at_the_first_and_goes_on_without(tmp_path: Path) -> None:
    people = small_people([2, 3, 10, 10])
    with pytest.raises(ValueError, match=r"^2/9.png: damaged \(--strict stops"):
        write_dataset(tmp_path, people, make_small, SETTINGS, strict=True, workers=1, views_per_shard=4)
    assert not (tmp_path / "info.json").exists() and not list(tmp_path.glob("*.partial"))
    assert (tmp_path / "train-00000-of-00003.parquet").exists()
    assert write_dataset(tmp_path, people, make_small, SETTINGS, workers=1, views_per_shard=4).skipped == 2
    with pytest.raises(ValueError, match="finished, without --strict"):
        write_dataset(tmp_path, people, make_small, SETTINGS, strict=True, workers=1, views_per_shard=4)


def test_other_settings_and_other_pictures_are_refused(tmp_path: Path) -> None:
    process = start(tmp_path / "begun", tmp_path / "script.py", workers=1, hang_at="3")
    kill(process)
    prepare(tmp_path / "finished")
    for folder in (tmp_path / "begun", tmp_path / "finished"):
        before = contents(folder)
        with pytest.raises(ValueError, match=r"size \[40, 24\], not \[64, 64\]"):
            write_dataset(folder, small_people(COUNTS), make_small, {"size": [64, 64]}, workers=1)
        assert contents(folder) == before
    with pytest.raises(ValueError, match="made from other pictures"):
        prepare(tmp_path / "finished", people=small_people([2, 3]))
    assert contents(tmp_path / "finished") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="not empty and holds no data set"):
        prepare(tmp_path / "mine")


def test_what_failed_does_not_block_the_next_attempt(tmp_path: Path) -> None:
    """A strict run that stopped at a picture, and one of which nothing could be stored; others' files stay."""
    prepare(tmp_path / "expected", people=small_people([2, 3, 1]))
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="--strict stops"):
        prepare(out, people=[*small_people([2, 3]), Person("2", "train", (9,))], strict=True)
    assert list(out.glob("*.parquet"))
    (out / "mine.partial").write_text("mine")
    with pytest.warns(UserWarning, match="begun with other pictures than are there now: begun anew"):
        prepare(out, people=small_people([2, 3, 1]))
    (out / "mine.partial").unlink()
    assert contents(out) == contents(tmp_path / "expected")
    none = tmp_path / "none"
    for settings in ({"size": [40, 24]}, {"size": [64, 64]}):
        with pytest.raises(ValueError, match="no picture could be stored; the first: 3/9.png: damaged"):
            write_dataset(none, [Person("3", "train", (9,))], make_small, settings, workers=1)
        assert not [name for name in contents(none) if not name.endswith(".lock")]
    prepare(none, people=small_people([2, 3, 1]))
    assert contents(none) == contents(tmp_path / "expected")


@pytest.mark.parametrize("name", ["thesis.partial", "notes.txt", "preparing/diary.txt", "train.parquet"])
def test_others_files_in_a_data_set_survive(tmp_path: Path, name: str) -> None:
    stop = [*small_people([2, 3]), Person("2", "train", (9,))]
    with pytest.raises(ValueError, match="--strict stops"):
        prepare(tmp_path / "set", people=stop, strict=True)
    (tmp_path / "set" / name).write_text("mine")
    prepare(tmp_path / "set", people=stop)
    prepare(tmp_path / "set", people=stop)
    assert (tmp_path / "set" / name).read_text() == "mine"


def test_wrong_people_are_refused(tmp_path: Path) -> None:
    for people, words in (
        ([], "nobody to store"),
        (small_people([1]) * 2, "'0' comes twice"),
        (small_people([1], "my split"), "split 'my split'"),
    ):
        with pytest.raises(ValueError, match=words):
            prepare(tmp_path / "set", people=people)
        assert not (tmp_path / "set").exists()
    with pytest.raises(ValueError, match="no picture could be stored"):
        prepare(tmp_path / "set", people=[Person("3", "train", (9,))])


def test_missing_shortened_and_changed_files_are_named(tmp_path: Path) -> None:
    prepare(tmp_path)
    shard = tmp_path / "train-00001-of-00003.parquet"
    whole = shard.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    shard.write_bytes(changed)
    read_info(tmp_path)  # lengths only
    with pytest.raises(ValueError, match="other content .*: train-00001-of-00003.parquet;"):
        verify_dataset(tmp_path)
    shard.write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=rf"00001-of-00003.parquet has {len(whole) - 1:,} bytes, {len(whole):,} expected"
    ):
        read_info(tmp_path)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="00001-of-00003.parquet is missing"):
        read_info(tmp_path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no finished data set"):
        read_info(tmp_path)
    prepare(tmp_path)
    values = json.loads((tmp_path / "info.json").read_text())
    for change, words in (
        ({"version": 2}, "version"),
        ({"format": "pictures"}, "format"),
        ({"index": values["index"] | {"file": "../index.parquet"}}, "index.file"),
    ):
        (tmp_path / "info.json").write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=rf"not a data set of format version 1 \({words}"):
            read_info(tmp_path)


def test_people_of_another_renderer_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered.prepare_people(0, 1, 1, 32, 24, tmp_path / "people", workers=1)
    monkeypatch.setattr(rendered, "RENDERER", rendered.RENDERER + 1)
    with pytest.raises(ValueError, match=f"made with renderer {rendered.RENDERER - 1}, not {rendered.RENDERER}"):
        rendered.prepare_people(0, 1, 1, 32, 24, tmp_path / "people", workers=1)
