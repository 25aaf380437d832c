import os
import time

import pytest

from imagpose.io import write_text
from imagpose.outputs import (
    carry_over,
    check_new_file,
    check_output_folder,
    claim_folder,
    mark_written,
    result_folder,
    staged_folder,
)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_stage_adds_its_files_together(tmp_path):
    out = tmp_path / "a" / "out"
    with pytest.raises(ValueError), staged_folder(out) as stage:
        (stage / "1").write_text("")
        raise ValueError
    assert names(tmp_path) == []
    out.mkdir(parents=True)
    (out / "other").write_text("stays")
    with staged_folder(out) as stage:
        (stage / "inner").mkdir()
        (stage / "inner" / "1").write_text("new")
        assert names(out) == ["other"]
    assert names(tmp_path) == ["a", "a/out", "a/out/.imagpose.json", "a/out/inner", "a/out/inner/1", "a/out/other"]


def test_a_stage_replaces_only_its_own_files_and_only_when_told(tmp_path):
    out = tmp_path / "out"

    def add(name, text, **options):
        with staged_folder(out, **options) as stage:
            (stage / name).write_text(text)

    add("1", "first")
    add("2", "beside it")
    (out / "mine").write_text("mine")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(ValueError, match="mine exists and was not written by this command"):
            add("mine", "theirs", **options)
    with pytest.raises(ValueError, match="1 exists: .*--overwrite"):
        add("1", "second")
    add("1", "second", overwrite=True)
    found = {path.name: path.read_text() for path in out.glob("[!.]*")}
    assert found == {"1": "second", "2": "beside it", "mine": "mine"}


def write_result(folder, text, **options):
    with result_folder(folder, **options) as new:
        (new / "inner").mkdir()
        (new / "inner" / text).write_text(text)


def test_a_result_replaces_only_an_earlier_one_and_only_when_told(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    write_result(folder, "first")  # an empty folder is nobody's
    with pytest.raises(ValueError, match="exists already: .*--overwrite"):
        write_result(folder, "second")
    write_result(folder, "second", overwrite=True)
    assert names(folder) == [".imagpose.json", "inner", "inner/second"]
    (folder / "inner" / "mine").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="holds inner/mine, which this command did not write"):
        write_result(folder, "third", overwrite=True)
    (folder / ".imagpose.json").unlink()
    (folder / "inner" / "mine").unlink()
    with pytest.raises(ValueError, match="was not written by this command"):
        write_result(folder, "third", overwrite=True)
    assert names(tmp_path) == ["out", "out/inner", "out/inner/second"]


def test_what_comes_into_a_result_while_a_new_one_is_made_stays(tmp_path):
    folder = tmp_path / "out"
    write_result(folder, "first")
    with pytest.raises(ValueError, match="holds mine"), result_folder(folder, overwrite=True) as new:
        (new / "second").write_text("")
        (folder / "mine").write_text("mine")
    assert names(tmp_path) == ["out", "out/.imagpose.json", "out/inner", "out/inner/first", "out/mine"]


def test_a_result_goes_to_where_a_link_points(tmp_path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    for text in ("first", "second"):
        write_result(tmp_path / "link", text, overwrite=True)
    assert names(tmp_path / "disk") == ["real", "real/.imagpose.json", "real/inner", "real/inner/second"]
    assert (tmp_path / "link").is_symlink()


def test_what_others_put_beside_weights_is_carried_over(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, own in ((old, ("weights", "shard-2")), (new, ("weights",))):
        (folder / "inner").mkdir(parents=True)
        for name in own:
            (folder / name).write_text(folder.name)
        mark_written(folder)
    (old / "inner" / "notes").write_text("mine")
    carry_over(old, new)
    assert names(new) == [".imagpose.json", "inner", "inner/notes", "weights"]
    assert (new / "weights").read_text() == "new" and (new / "inner" / "notes").read_text() == "mine"


def test_a_single_file_is_replaced_only_when_told(tmp_path):
    file = tmp_path / "a.png"
    check_new_file(file)
    file.write_text("mine")
    with pytest.raises(ValueError, match="a.png exists: .*--overwrite"):
        check_new_file(file)
    check_new_file(file, overwrite=True)
    with pytest.raises(ValueError, match="is a folder"):
        check_new_file(tmp_path, overwrite=True)


def test_a_folder_belongs_to_its_first_settings(tmp_path):
    folder, settings = tmp_path / "new" / "out", {"data": "x", "sampling": {"steps": 20, "grid": (2, 2)}}
    claim_folder(folder, settings)
    written = (folder / "settings.json").stat().st_mtime_ns
    time.sleep(0.01)
    claim_folder(folder, settings)
    assert (folder / "settings.json").stat().st_mtime_ns == written
    with pytest.raises(
        ValueError, match=r"out holds results of other settings \(steps differ\): choose another folder"
    ):
        claim_folder(folder, {"data": "x", "sampling": {"steps": 10, "grid": (2, 2)}})
    with pytest.raises(ValueError, match="data, grid, seed differ"):
        claim_folder(folder, {"data": "y", "sampling": {"steps": 20, "grid": (2, 3)}, "seed": 1})
    later = {**settings, "sampling": {"every": 1, **settings["sampling"]}, "seed": 0}
    claim_folder(folder, later, {"seed": 0, "sampling": {"every": 1, "steps": 10}})  # which did not exist before
    with pytest.raises(ValueError, match=r"\(every, seed differ\)"):
        claim_folder(folder, later, {"seed": 1, "sampling": {"every": 2, "steps": 20}})
    with pytest.raises(ValueError, match=r"\(steps differ\)"):  # a setting that was named is not what it is by default
        claim_folder(folder, {"sampling": {"steps": 10}}, {"sampling": {"steps": 10}})
    (folder / "settings.json").write_text("[damaged")
    with pytest.raises(ValueError, match="data, steps, grid differ"):
        claim_folder(folder, settings)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="no permission"):
        check_output_folder(tmp_path / "a" / "b")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is not a folder"):
        check_output_folder(tmp_path / "file")
    with pytest.raises(ValueError):
        check_output_folder(tmp_path / "file" / "inner")
    check_output_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == ["file"]


def test_names_of_the_longest_length_are_written(tmp_path):
    """255 bytes: 85 characters of three bytes each."""
    file, folder = tmp_path / ("人" * 85), tmp_path / ("物" * 85)
    write_text(file, "whole")
    write_result(folder, "first")
    write_result(folder, "second", overwrite=True)
    assert file.read_text() == "whole" and names(folder) == [".imagpose.json", "inner", "inner/second"]
    assert not list(tmp_path.glob("*.partial"))
