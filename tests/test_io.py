import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagpose.io import (
    LOCK_FILE,
    clear_left_overs,
    clear_partial_files,
    file_digest,
    json_digest,
    locked_folder,
    partial_file,
    partial_folder,
    read_json,
    write_json,
    write_text,
)
from imagpose.outputs import check_replaceable, staged_folder

_SLOW_WRITER = """
import sys, time
from pathlib import Path
from imagpose.io import partial_file
with partial_file(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""

_KILLED_REPLACER = """
import os, shutil, sys, time
from pathlib import Path
from imagpose.io import partial_folder
left, replace = int(sys.argv[2]), os.replace
def wait(*_, **__):
    print("waiting", flush=True)
    time.sleep(60)
def counted(source, target):
    global left
    if not left:
        wait()
    left -= 1
    replace(source, target)
os.replace = counted
shutil.rmtree = wait
with partial_folder(Path(sys.argv[1]), replace=True) as partial:
    (partial / "killed").write_text("")
"""

_HOLDER = """
import os, sys, time
from pathlib import Path
from imagpose.io import locked_folder
with locked_folder(Path(sys.argv[1])):
    child = os.fork()  # as workers are, which outlive a killed parent for some seconds
    if not child:
        time.sleep(3)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("old")
    with partial_file(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old" and partial.parent == tmp_path
    assert file.read_text() == "new" and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_file_leaves_the_one_before_and_nothing_else(tmp_path, error):
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(error), partial_file(file) as partial:
        partial.write_text("half")
        raise error
    assert file.read_text() == "old" and names(tmp_path) == ["a.json"]


def test_a_killed_writer_leaves_the_file_before(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert file.read_text() == "old"
    write_text(file, "new")
    assert file.read_text() == "new"


def test_a_folder_appears_when_it_is_whole(tmp_path):
    folder = tmp_path / "model"
    with partial_folder(folder) as partial:
        (partial / "weights").write_text("new")
        assert not folder.exists()
    assert names(tmp_path) == ["model", "model/weights"]
    other = tmp_path / "other"
    other.mkdir()
    assert folder.stat().st_mode == other.stat().st_mode


def test_folders_that_are_not_ours_stay(tmp_path):
    folder = tmp_path / "model"
    like_ours = (".model-1-abcdefgh.partial", ".model-x-abcdefgh.partial", ".models-1-abcdefgh.partial")
    for name in ("model.partial", *like_ours):
        (tmp_path / name / "new").mkdir(parents=True)
        (tmp_path / name / "thesis.txt").write_text("three years")
        (tmp_path / name / ".lock").touch()
    before = names(tmp_path)
    with partial_folder(folder, replace=True):
        pass
    with staged_folder(folder):
        pass
    assert names(tmp_path) == sorted([*before, "model"])


def test_a_file_or_link_at_the_place_of_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "file").write_text("stays")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = names(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(OSError), partial_folder(tmp_path / name, replace=True):
            pass
    assert names(tmp_path) == before and (tmp_path / "file").read_text() == "stays"


def test_the_folder_before_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("")
    replace, calls = os.replace, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError("disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="disk"), partial_folder(folder, replace=True):
        pass
    assert len(calls) == 3 and names(tmp_path) == ["model", "model/old"]


@pytest.mark.skipif(os.name != "posix", reason="left-overs are known by locks")
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_killed_writer_loses_no_folder_and_its_left_overs_are_removed(tmp_path, renames):
    """Killed while it writes, between the two renames, and before the old folder is removed."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_REPLACER, str(folder), str(renames)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        with staged_folder(folder):  # the process lives: what it works on is left alone
            assert len(list(tmp_path.glob(".model-*.partial"))) == 2
        process.kill()
    assert len(names(tmp_path)) > 3
    with partial_folder(folder, replace=True) as partial:
        assert names(folder) == [{0: "old", 1: "old", 2: "killed"}[renames]]
        assert list(tmp_path.glob(".*.partial")) == [partial.parent]
        (partial / "new").write_text("")
    assert names(tmp_path) == ["model", "model/new"]


@pytest.mark.skipif(os.name != "posix", reason="left-overs are known by locks")
def test_killed_behind_the_last_renaming_nothing_stays_either(tmp_path):
    """The folder is there, so that the next call writes nothing: it is refused, or says that all is done."""
    folder = tmp_path / "model"
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_REPLACER, str(folder), "1"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        process.kill()
    assert len(names(tmp_path)) == 4  # with the room and its lock
    with pytest.raises(ValueError, match="was not written by this command"):
        check_replaceable(folder, overwrite=False)
    assert names(tmp_path) == ["model", "model/killed"]


def test_a_room_whose_writer_was_killed_before_it_locked_it_is_cleared(tmp_path):
    rooms = [tmp_path / f".model-99999999-abcdefg{number}.partial" for number in range(2)]
    for room in rooms:
        room.mkdir()
    (rooms[1] / "mine.txt").write_text("")
    clear_left_overs(tmp_path / "model")
    assert not rooms[0].exists() and (rooms[1] / "mine.txt").exists()


def test_a_folder_is_replaced_only_on_request_and_only_when_all_went_well(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("")
    with pytest.raises(OSError), partial_folder(folder) as partial:
        (partial / "new").write_text("")
    with pytest.raises(ValueError), partial_folder(folder, replace=True) as partial:
        raise ValueError
    assert names(tmp_path) == ["model", "model/old"]
    with partial_folder(folder, replace=True) as partial:
        (partial / "new").write_text("")
    assert names(tmp_path) == ["model", "model/new"]


def test_json_is_written_in_utf_8_with_a_line_end_and_its_digest_is_stable(tmp_path):
    value = {"b": [1, 2.5, None], "a": "ü"}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value and text.endswith("}\n") and text.index('"b"') < text.index('"a"')
    assert json_digest(value) == hashlib.sha256(b'{"b": [1, 2.5, null], "a": "\\u00fc"}').hexdigest()
    assert json_digest(value) != json_digest(dict(reversed(value.items())))


def test_the_digest_of_files_is_that_of_what_they_hold_joined(tmp_path):
    parts = [b"", os.urandom(2**20 + 1), b"end"]  # the second is read in two goes
    paths = [tmp_path / str(number) for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    assert file_digest(*paths) == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.skipif(os.name != "posix", reason="there are no locks of this kind")
def test_a_locked_folder_is_free_again_when_its_process_dies(tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="run is being written by another process"), locked_folder(folder):
            pass
        process.kill()
        process.wait()
        with locked_folder(folder):  # although the child still lives
            pass
        process.stdout.close()


def test_a_lock_leaves_what_somebody_wrote_into_its_file(tmp_path):
    (tmp_path / LOCK_FILE).write_text("mine")
    with locked_folder(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == "mine"


def test_only_what_killed_writers_left_is_cleared(tmp_path):
    (tmp_path / "inner").mkdir()
    kept = ["a.png", "a.partial", "a.12x.partial", "12.partial.png", "inner/b"]
    for name in [*kept, "a.png.12.partial", "inner/b.7.partial"]:
        (tmp_path / name).write_text("")
    (tmp_path / "step.5.partial").mkdir()
    clear_partial_files(tmp_path, "b*")
    assert (tmp_path / "a.png.12.partial").exists() and (tmp_path / "inner" / "b.7.partial").exists()
    clear_partial_files(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {*kept, "inner", "step.5.partial"}


def test_an_error_of_the_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, partial_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write raises it
    assert error.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(OSError) as error, partial_file(tmp_path / "a.txt"):
        (tmp_path / "absent").read_text()
    assert error.value.filename == str(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"3", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
